// Secret is a password or a token: it is wiped from memory with its last holder, and nothing prints it.
//
// Copies share one text; safe to pass between threads, immutable.
#pragma once

#include <cstring>
#include <memory>
#include <string>

namespace kms::builder {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text)
      : text_(new std::string(std::move(text)), [](std::string* held) {
          ::explicit_bzero(held->data(), held->size());
          delete held;
        }) {}

  [[nodiscard]] bool empty() const { return !text_ || text_->empty(); }

  /// For the server alone.
  [[nodiscard]] std::string reveal() const { return text_ ? *text_ : ""; }

 private:
  std::shared_ptr<std::string> text_;
};

}  // namespace kms::builder

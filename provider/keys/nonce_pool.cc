#include "provider/keys/nonce_pool.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>

#include "common/crypto/openssl.h"

namespace kms::provider {
namespace {

void draw(std::span<std::uint8_t> bytes) {
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    openssl::throw_error("draw random bytes");
}

/// What stands in a page of its own, which a fork finds zeroed: then nothing is left, and it draws anew.
struct Page {
  std::size_t left;
  std::uint8_t bytes[4096 - sizeof(std::size_t)];
};
static_assert(sizeof(Page) == 4096);

class Pool {
 public:
  Pool() {
    void* const memory =
        ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    page_ = static_cast<Page*>(memory);
    if (::madvise(memory, sizeof(Page), MADV_WIPEONFORK) == 0) return;
    unmap();  // a kernel before 4.14: each nonce is drawn by itself
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    if (page_ != nullptr) unmap();
  }

  void take(std::span<std::uint8_t> to) {
    if (page_ == nullptr) return draw(to);
    if (page_->left < to.size()) {
      draw(page_->bytes);
      page_->left = sizeof page_->bytes;
    }
    page_->left -= to.size();
    std::uint8_t* const from = page_->bytes + page_->left;
    std::copy_n(from, to.size(), to.data());
    OPENSSL_cleanse(from, to.size());
  }

 private:
  void unmap() {
    OPENSSL_cleanse(page_, sizeof *page_);
    ::munmap(page_, sizeof *page_);
    page_ = nullptr;
  }

  Page* page_ = nullptr;
};

}  // namespace

void draw_nonce(std::span<std::uint8_t> nonce) {
  thread_local Pool pool;
  pool.take(nonce);
}

}  // namespace kms::provider

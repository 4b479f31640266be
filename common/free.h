// Free: a unique_ptr's deleter that calls a C library's function. Example:
// `std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>`.
#pragma once

namespace kms {

template <auto function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    function(object);
  }
};

}  // namespace kms

# Finds the libraries and offers them as targets:
#   kms_grpc      gRPC C++ without TLS (no Unix socket needs it) and the protobuf runtime
#   kms_crypto    OpenSSL's libcrypto
# With KMS_STATIC a binary runs on every glibc of this version or newer. It starts faster, because the dynamic linker loads about 70
# libraries less.
include_guard(GLOBAL)
option(KMS_STATIC "Link all libraries but glibc statically" ON)
find_package(Threads REQUIRED)
add_library(kms_grpc INTERFACE)
add_library(kms_crypto INTERFACE)

# Full paths of archives. glibc's parts stay shared.
function(kms_archives out)
  set(archives)
  foreach(name IN LISTS ARGN)
    find_library(KMS_ARCHIVE_${name} lib${name}.a)
    mark_as_advanced(KMS_ARCHIVE_${name})
    if(NOT KMS_ARCHIVE_${name})
      message(FATAL_ERROR "cannot find lib${name}.a: install the -dev package or configure with -DKMS_STATIC=OFF")
    endif()
    list(APPEND archives ${KMS_ARCHIVE_${name}})
  endforeach()
  set(${out} ${archives} PARENT_SCOPE)
endfunction()

if(KMS_STATIC)
  # pkg-config would take a second for a hundred packages, mostly Abseil's, and omit the libraries that gRPC bundles elsewhere: upb,
  # c-ares, address_sorting, re2.
  kms_archives(archives grpc++_unsecure grpc_unsecure gpr upb cares address_sorting re2 protobuf z)
  list(GET archives 0 grpc)
  get_filename_component(directory ${grpc} DIRECTORY)
  file(GLOB abseil ${directory}/libabsl_*.a)
  target_link_libraries(kms_grpc INTERFACE -Wl,--start-group ${archives} ${abseil} -Wl,--end-group Threads::Threads rt m)
  # At a fixed address: relocating the libraries' 32,000 pointers at each start takes 0.7 ms and half a MB that processes cannot share.
  target_link_options(kms_grpc INTERFACE -static-libstdc++ -static-libgcc -no-pie)
  kms_archives(archives crypto)
  target_link_libraries(kms_crypto INTERFACE ${archives} Threads::Threads)
else()
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(KMS_GRPC REQUIRED IMPORTED_TARGET grpc++_unsecure protobuf zlib)
  pkg_check_modules(KMS_CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
  target_link_libraries(kms_grpc INTERFACE PkgConfig::KMS_GRPC Threads::Threads)
  target_link_libraries(kms_crypto INTERFACE PkgConfig::KMS_CRYPTO Threads::Threads)
endif()

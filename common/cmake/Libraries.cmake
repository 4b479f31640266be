# Finds the libraries and offers them as targets:
#   kms_grpc      gRPC C++ without TLS (no Unix socket needs it) and the protobuf runtime
#   kms_crypto    OpenSSL's libcrypto
#   kms_tls       OpenSSL's libssl, with kms_crypto
# pkg-config names what they need. KMS_STATIC says how to link them:
#   ON     archives of everything but glibc. A binary then runs on any glibc of this age or newer, and starts sooner: the
#          dynamic linker loads some 70 libraries less.
#   OFF    shared libraries
#   AUTO   ON if every archive is installed, else OFF
include_guard(GLOBAL)
set(KMS_STATIC AUTO CACHE STRING "Link the libraries statically: AUTO (if their archives are installed), ON or OFF")
set_property(CACHE KMS_STATIC PROPERTY STRINGS AUTO ON OFF)
string(TOUPPER "${KMS_STATIC}" static)
if(static MATCHES "^(ON|YES|TRUE|Y|1)$")
  set(static ON)
elseif(static MATCHES "^(OFF|NO|FALSE|N|0)$")
  set(static OFF)
elseif(NOT static STREQUAL "AUTO")
  message(FATAL_ERROR "KMS_STATIC is '${KMS_STATIC}'; set it to AUTO, ON or OFF")
endif()
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# kms_archives(PREFIX MODULE...): PREFIX_ARCHIVES are the full paths of the archives of pkg-config's modules and of all
# that they need, PREFIX_SYSTEM the flags of glibc's own parts, PREFIX_MISSING the names without an archive.
function(kms_archives prefix)
  execute_process(COMMAND ${PKG_CONFIG_EXECUTABLE} --static --libs ${ARGN} OUTPUT_VARIABLE flags RESULT_VARIABLE code
    ERROR_VARIABLE errors OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
  if(NOT code EQUAL 0)
    list(JOIN ARGN ", " modules)
    message(FATAL_ERROR "cannot find ${modules}: ${errors}; install the -dev packages")
  endif()
  separate_arguments(flags UNIX_COMMAND "${flags}")
  set(directories ${flags})
  list(FILTER directories INCLUDE REGEX "^-L")
  list(TRANSFORM directories REPLACE "^-L" "")
  set(archives)
  set(system)
  set(missing)
  list(REMOVE_DUPLICATES flags)
  foreach(flag IN LISTS flags)
    if(NOT flag MATCHES "^-l(.+)$" OR flag STREQUAL "-latomic") # the compiler's own: see below
      continue()
    endif()
    set(name ${CMAKE_MATCH_1})
    if(name MATCHES "^(c|m|dl|pthread|rt|resolv|util)$")
      list(APPEND system ${flag})
      continue()
    endif()
    find_library(KMS_ARCHIVE_${name} lib${name}.a HINTS ${directories})
    mark_as_advanced(KMS_ARCHIVE_${name})
    if(KMS_ARCHIVE_${name})
      list(APPEND archives ${KMS_ARCHIVE_${name}})
    else()
      list(APPEND missing lib${name}.a)
    endif()
  endforeach()
  set(${prefix}_ARCHIVES ${archives} PARENT_SCOPE)
  set(${prefix}_SYSTEM ${system} PARENT_SCOPE)
  set(${prefix}_MISSING ${missing} PARENT_SCOPE)
endfunction()

set(KMS_LINK_STATIC OFF)
if(NOT static STREQUAL "OFF")
  kms_archives(KMS_GRPC grpc++_unsecure protobuf zlib)
  kms_archives(KMS_CRYPTO libcrypto)
  kms_archives(KMS_TLS libssl)
  # Debian's gRPC 1.51 bundles these and does not name them in its .pc files.
  foreach(name upb address_sorting cares re2)
    find_library(KMS_ARCHIVE_${name} lib${name}.a)
    mark_as_advanced(KMS_ARCHIVE_${name})
    if(KMS_ARCHIVE_${name})
      list(APPEND KMS_GRPC_ARCHIVES ${KMS_ARCHIVE_${name}})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES KMS_GRPC_ARCHIVES)
  set(missing ${KMS_GRPC_MISSING} ${KMS_TLS_MISSING} ${KMS_CRYPTO_MISSING})
  if(NOT missing)
    set(KMS_LINK_STATIC ON)
  elseif(static STREQUAL "ON")
    list(JOIN missing ", " missing)
    message(FATAL_ERROR "cannot find ${missing}; install the -dev packages or configure with -DKMS_STATIC=OFF")
  endif()
endif()

add_library(kms_grpc INTERFACE)
add_library(kms_crypto INTERFACE)
add_library(kms_tls INTERFACE)
if(KMS_LINK_STATIC)
  target_link_libraries(kms_grpc INTERFACE
    -Wl,--start-group ${KMS_GRPC_ARCHIVES} -Wl,--end-group ${KMS_GRPC_SYSTEM} Threads::Threads rt m
    -Wl,--push-state,--as-needed -latomic -Wl,--pop-state) # only some processors need it
  # At a fixed address: otherwise the dynamic linker relocates the libraries' 32,000 pointers at each start, which takes
  # 0.7 ms and half a MB that no process shares with another.
  target_link_options(kms_grpc INTERFACE -static-libstdc++ -static-libgcc -no-pie)
  target_link_libraries(kms_tls INTERFACE ${KMS_TLS_ARCHIVES} ${KMS_TLS_SYSTEM} Threads::Threads)
  target_link_libraries(kms_crypto INTERFACE ${KMS_CRYPTO_ARCHIVES} ${KMS_CRYPTO_SYSTEM} Threads::Threads)
else()
  pkg_check_modules(KMS_GRPC_SHARED REQUIRED IMPORTED_TARGET grpc++_unsecure protobuf zlib)
  pkg_check_modules(KMS_CRYPTO_SHARED REQUIRED IMPORTED_TARGET libcrypto)
  pkg_check_modules(KMS_TLS_SHARED REQUIRED IMPORTED_TARGET libssl)
  target_link_libraries(kms_grpc INTERFACE PkgConfig::KMS_GRPC_SHARED Threads::Threads)
  target_link_libraries(kms_crypto INTERFACE PkgConfig::KMS_CRYPTO_SHARED Threads::Threads)
  target_link_libraries(kms_tls INTERFACE PkgConfig::KMS_TLS_SHARED Threads::Threads)
endif()

# Finds gRPC, protobuf and OpenSSL's libcrypto through pkg-config and offers them as targets:
#   kms_grpc      gRPC C++ without TLS (no Unix socket needs it) and the protobuf runtime
#   kms_crypto    OpenSSL's libcrypto
# Linked statically where KMS_STATIC is on and the archives are there: a binary then runs on any glibc of this age
# or newer, and starts sooner: the dynamic linker has some 70 libraries less to load. Also defines kms_proto(TARGET FILE... [GRPC]).
include_guard(GLOBAL)
find_package(PkgConfig REQUIRED)
option(KMS_STATIC "Link all libraries but glibc statically" ON)

# Asks pkg-config once for everything: it needs 0.7 s to walk gRPC's hundred packages, and pkg_check_modules would
# let it do so fifteen times. Sets <prefix>_DEFINITIONS, _INCLUDE_DIRS, _LIBRARIES (bare names) and _LINK (-L, -l).
function(kms_pkg_config prefix)
  set(static)
  if(KMS_STATIC)
    set(static --static)
  endif()
  set(query "${static} ${ARGN}")
  if(NOT "${${prefix}_QUERY}" STREQUAL "${query}")
    execute_process(
      COMMAND ${PKG_CONFIG_EXECUTABLE} ${static} --print-errors --cflags --libs ${ARGN}
      OUTPUT_VARIABLE flags ERROR_VARIABLE errors RESULT_VARIABLE code OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT code EQUAL 0)
      message(FATAL_ERROR "cannot find ${ARGN}: install the -dev packages\n${errors}")
    endif()
    set(${prefix}_FLAGS "${flags}" CACHE INTERNAL "")
    set(${prefix}_QUERY "${query}" CACHE INTERNAL "")
  endif()
  separate_arguments(flags UNIX_COMMAND "${${prefix}_FLAGS}")
  list(REMOVE_DUPLICATES flags)
  foreach(kind "DEFINITIONS;^-D" "INCLUDE_DIRS;^-I" "LIBRARIES;^-l" "LINK;^-[Ll]")
    list(GET kind 0 name)
    list(GET kind 1 pattern)
    set(values ${flags})
    list(FILTER values INCLUDE REGEX "${pattern}")
    if(NOT name STREQUAL "LINK")
      list(TRANSFORM values REPLACE "${pattern}" "")
    endif()
    set(${prefix}_${name} ${values} PARENT_SCOPE)
  endforeach()
endfunction()

kms_pkg_config(KMS_GRPC grpc++_unsecure protobuf)
kms_pkg_config(KMS_CRYPTO libcrypto)

# Turns pkg-config's static library list into full archive paths; glibc's own parts stay shared.
function(kms_static_archives out)
  set(archives)
  foreach(name IN LISTS ARGN)
    if(name MATCHES "^(pthread|rt|m|dl|atomic|c)$")
      continue()
    endif()
    find_library(KMS_ARCHIVE_${name} lib${name}.a)
    mark_as_advanced(KMS_ARCHIVE_${name})
    if(NOT KMS_ARCHIVE_${name})
      message(FATAL_ERROR "cannot find lib${name}.a: install the -dev package or configure with -DKMS_STATIC=OFF")
    endif()
    list(APPEND archives ${KMS_ARCHIVE_${name}})
  endforeach()
  set(${out} ${archives} PARENT_SCOPE)
endfunction()

add_library(kms_grpc INTERFACE)
target_include_directories(kms_grpc SYSTEM INTERFACE ${KMS_GRPC_INCLUDE_DIRS})
target_compile_definitions(kms_grpc INTERFACE ${KMS_GRPC_DEFINITIONS})
add_library(kms_crypto INTERFACE)
target_include_directories(kms_crypto SYSTEM INTERFACE ${KMS_CRYPTO_INCLUDE_DIRS})
find_package(Threads REQUIRED)
if(KMS_STATIC)
  # Debian's grpc.pc leaves out the libraries that gRPC bundles elsewhere: upb, c-ares, address_sorting, re2.
  set(names ${KMS_GRPC_LIBRARIES} upb cares address_sorting re2 z)
  list(REMOVE_DUPLICATES names)
  kms_static_archives(archives ${names})
  target_link_libraries(kms_grpc INTERFACE -Wl,--start-group ${archives} -Wl,--end-group Threads::Threads rt m)
  kms_static_archives(archives ${KMS_CRYPTO_LIBRARIES})
  target_link_libraries(kms_crypto INTERFACE ${archives} Threads::Threads)
  target_link_options(kms_grpc INTERFACE -static-libstdc++ -static-libgcc)
else()
  target_link_libraries(kms_grpc INTERFACE ${KMS_GRPC_LINK} Threads::Threads)
  target_link_libraries(kms_crypto INTERFACE ${KMS_CRYPTO_LINK})
endif()

find_program(KMS_PROTOC protoc REQUIRED)
find_program(KMS_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

# kms_proto(TARGET [name.proto...] [GRPC name.proto...]): a static library of the generated code, included as
# "proto/name.pb.h" (and "proto/name.grpc.pb.h" for those after GRPC). Files stand beside the calling CMakeLists.txt, in
# the folder `proto`.
function(kms_proto target)
  cmake_parse_arguments(ARG "" "" "GRPC" ${ARGN})
  set(root ${CMAKE_CURRENT_SOURCE_DIR}/..)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  set(sources)
  foreach(file IN LISTS ARG_UNPARSED_ARGUMENTS ARG_GRPC)
    get_filename_component(name ${file} NAME_WE)
    set(outputs ${generated}/proto/${name}.pb.cc ${generated}/proto/${name}.pb.h)
    set(arguments --cpp_out=${generated})
    if(file IN_LIST ARG_GRPC)
      list(APPEND outputs ${generated}/proto/${name}.grpc.pb.cc ${generated}/proto/${name}.grpc.pb.h)
      list(APPEND arguments --grpc_out=${generated} --plugin=protoc-gen-grpc=${KMS_GRPC_CPP_PLUGIN})
    endif()
    add_custom_command(
      OUTPUT ${outputs}
      COMMAND ${KMS_PROTOC} -I ${root} ${arguments} proto/${name}.proto
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
      WORKING_DIRECTORY ${root}
      VERBATIM)
    list(APPEND sources ${outputs})
  endforeach()
  add_library(${target} STATIC EXCLUDE_FROM_ALL ${sources})
  target_include_directories(${target} SYSTEM PUBLIC ${generated})
  target_link_libraries(${target} PUBLIC kms_grpc)
  target_compile_options(${target} PRIVATE -w)
  # protoc gives each file two static tables, by the same names everywhere: in one unit they need names of their own.
  set_target_properties(${target} PROPERTIES
    CXX_CLANG_TIDY ""
    UNITY_BUILD_UNIQUE_ID KMS_UNIT
    UNITY_BUILD_CODE_BEFORE_INCLUDE "\
#define KMS_JOIN(a, b) a##_##b
#define KMS_NAME(a, b) KMS_JOIN(a, b)
#define schemas KMS_NAME(KMS_UNIT, schemas)
#define file_default_instances KMS_NAME(KMS_UNIT, file_default_instances)"
    UNITY_BUILD_CODE_AFTER_INCLUDE "#undef schemas\n#undef file_default_instances")
endfunction()

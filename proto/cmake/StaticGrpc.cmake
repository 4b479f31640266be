# Finds gRPC, protobuf and OpenSSL's libcrypto and offers them as targets:
#   kms_grpc      gRPC C++ without TLS (no Unix socket needs it) and the protobuf runtime
#   kms_crypto    OpenSSL's libcrypto
# Linked statically where KMS_STATIC is on: a binary then runs on any glibc of this age or newer, and starts sooner: the
# dynamic linker has some 70 libraries less to load. Also defines kms_proto(TARGET FILE... [GRPC]).
include_guard(GLOBAL)
option(KMS_STATIC "Link all libraries but glibc statically" ON)
find_package(Threads REQUIRED)
add_library(kms_grpc INTERFACE)
add_library(kms_crypto INTERFACE)

# Full paths of archives; glibc's own parts stay shared.
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
  # pkg-config would take a second to walk through a hundred packages, most of which are Abseil's, and still leave out
  # the libraries that gRPC bundles elsewhere: upb, c-ares, address_sorting, re2.
  kms_archives(archives grpc++_unsecure grpc_unsecure gpr upb cares address_sorting re2 protobuf z)
  list(GET archives 0 grpc)
  get_filename_component(folder ${grpc} DIRECTORY)
  file(GLOB abseil ${folder}/libabsl_*.a)
  target_link_libraries(kms_grpc INTERFACE -Wl,--start-group ${archives} ${abseil} -Wl,--end-group Threads::Threads rt m)
  # At a fixed address, since the libraries' 32,000 pointers would be relocated at each start: 0.7 ms, and half a MB that
  # no process shares with another.
  target_link_options(kms_grpc INTERFACE -static-libstdc++ -static-libgcc -no-pie)
  kms_archives(archives crypto)
  target_link_libraries(kms_crypto INTERFACE ${archives} Threads::Threads)
else()
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(KMS_GRPC REQUIRED IMPORTED_TARGET grpc++_unsecure protobuf)
  pkg_check_modules(KMS_CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
  target_link_libraries(kms_grpc INTERFACE PkgConfig::KMS_GRPC Threads::Threads)
  target_link_libraries(kms_crypto INTERFACE PkgConfig::KMS_CRYPTO Threads::Threads)
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

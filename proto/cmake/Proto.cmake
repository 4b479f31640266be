# kms_proto(TARGET [name.proto...] [GRPC name.proto...]) makes a static library of the generated code. Include it as "proto/name.pb.h" and,
# for files after GRPC, "proto/name.grpc.pb.h". The files are beside the calling CMakeLists.txt, in the directory `proto`.
include_guard(GLOBAL)
find_program(KMS_PROTOC protoc REQUIRED)
find_program(KMS_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

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
  target_compile_options(${target} PRIVATE -w $<$<CONFIG:Release>:-O1>)
  # protoc gives each file two static tables of the same names. In a unity build they need different names.
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

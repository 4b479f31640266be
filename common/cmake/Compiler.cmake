# Refuses a compiler that is too old for C++20 as it is used here.
include_guard(GLOBAL)
set(minimum_GNU 12)
set(minimum_Clang 14)
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS "${minimum_${CMAKE_CXX_COMPILER_ID}}")
  message(FATAL_ERROR "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} is too old; install GCC 12, clang 14 or newer, and name it by CXX")
endif()

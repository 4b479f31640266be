# Faster builds: joined units, ccache and the mold linker if they are installed, and a compiler that collects no garbage.
include_guard(GLOBAL)
# A compiler spends most of its time on the headers that units share. In a build that is made once they are read once.
string(COMPARE EQUAL "${CMAKE_BUILD_TYPE}" Release release)
option(KMS_UNITY "Compile each library as one unit or few, in a third of the time" ${release})
set(CMAKE_UNITY_BUILD ${KMS_UNITY})
set(CMAKE_UNITY_BUILD_BATCH_SIZE 0) # all of a library
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD AND NOT CMAKE_CROSSCOMPILING) # a cross compiler does not find it
  add_link_options(-fuse-ld=mold)
endif()
# GCC collects garbage each time its heap has grown by a fraction. Below this many KiB it does not.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_compile_options("SHELL:--param ggc-min-heapsize=1048576")
endif()

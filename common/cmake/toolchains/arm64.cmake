# Cross-compiles for 64-bit ARM with Debian's cross compiler and its libraries of arm64. Tests run under qemu's user emulation. The
# preset `arm64` uses this file; scripts/platforms installs what it needs.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(PKG_CONFIG_EXECUTABLE aarch64-linux-gnu-pkg-config CACHE FILEPATH "It knows the directories of arm64")
find_program(KMS_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(KMS_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${KMS_QEMU})
  # qemu drops RLIMIT_DATA and MADV_WIPEONFORK, and reports success.
  set(KMS_UNIT_TEST_ARGUMENTS "--test-case-exclude=limits and a user are the child's alone,a fork does not draw what its parent draws")
endif()

# cpack: the Debian package and the archive that scripts/package makes. Both contain what `cmake --install` installs; the package has
# the prefix /usr, the archive /usr/local.
set(CPACK_PACKAGE_NAME mock-kms-plugin)
set(CPACK_PACKAGE_VERSION ${KMS_VERSION})
set(CPACK_PACKAGE_FILE_NAME mock-kms-plugin-${KMS_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "KMS v2 plugin for testing encryption at rest in Kubernetes")
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INCLUDE_TOPLEVEL_DIRECTORY OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "It encrypts in memory and needs no external KMS. It can rotate its key,
inject faults and record every call. A supervisor keeps it alive, and a
builder compiles it from a git repository. It protects no data.")
set(CPACK_PROJECT_CONFIG_FILE "${CMAKE_CURRENT_LIST_DIR}/PackageFormat.cmake")
include(CPack)

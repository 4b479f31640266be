# cpack reads this once for each format.
if(CPACK_GENERATOR STREQUAL DEB)
  set(CPACK_INSTALL_PREFIX /usr)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/PackageDebian.cmake")
else()
  set(CPACK_INSTALL_PREFIX /usr/local)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr/local)
endif()

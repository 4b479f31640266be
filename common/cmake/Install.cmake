# `cmake --install`: the programs, manual pages, completions, systemd units, the source that the builder compiles, documents.
# The programs write their own pages and completions. To cross-compile, set CMAKE_CROSSCOMPILING_EMULATOR.
include(GNUInstallDirs)
set(KMS_PROGRAMS builder supervisor mock-kms-provider)

# InstallGenerated.cmake reads these variables. In bracket arguments, because a path may contain blanks and quotes.
set(made "${CMAKE_BINARY_DIR}/install")
foreach(name IN ITEMS made KMS_PROGRAMS PROJECT_SOURCE_DIR CMAKE_RUNTIME_OUTPUT_DIRECTORY CMAKE_CROSSCOMPILING_EMULATOR CMAKE_INSTALL_BINDIR)
  install(CODE "set(${name} [==[${${name}}]==])")
endforeach()
# It comes first: if it fails, nothing is installed.
install(SCRIPT "${CMAKE_CURRENT_LIST_DIR}/InstallGenerated.cmake")
install(TARGETS ${KMS_PROGRAMS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY "${made}/man/" DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(DIRECTORY "${made}/share/" DESTINATION ${CMAKE_INSTALL_DATADIR})
install(DIRECTORY "${made}/systemd/" DESTINATION lib/systemd/system)
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(CODE "file(REMOVE_RECURSE \"\${made}\")") # as root it would be in the way of the user who owns the build

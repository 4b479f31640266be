# The files that Debian's policy asks of each package. cpack runs this when the others lie in its directory.
set(doc "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share/doc/${CPACK_PACKAGE_NAME}")
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE "${doc}/changelog" "${CPACK_PACKAGE_NAME} (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * The changes are in CHANGELOG.md.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
file(WRITE "${doc}/copyright" "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2026 the developers of ${CPACK_PACKAGE_NAME}
License: Apache-2.0
 The licence is in /usr/share/common-licenses/Apache-2.0.
")
execute_process(COMMAND gzip -9n "${doc}/changelog" COMMAND_ERROR_IS_FATAL ANY)
# The programs are linked statically, so that a restart takes no time for loading libraries.
file(WRITE "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share/lintian/overrides/${CPACK_PACKAGE_NAME}"
     "${CPACK_PACKAGE_NAME}: embedded-library zlib *\n")

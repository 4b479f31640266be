# `cmake --install` runs this. It makes what the build does not make, in the directory ${made}. Install.cmake sets the variables.
set(bash "${made}/share/bash-completion/completions")
set(zsh "${made}/share/zsh/site-functions")
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS /etc/debian_version) # only there zsh searches this directory
  set(zsh "${made}/share/zsh/vendor-completions")
endif()
set(fish "${made}/share/fish/vendor_completions.d")
file(REMOVE_RECURSE "${made}")
file(MAKE_DIRECTORY "${made}/man" "${made}/systemd" "${bash}" "${zsh}" "${fish}")

macro(need_success command) # of the last execute_process()
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "cannot install: '${command}' failed (${code}): ${error}")
  endif()
endmacro()

macro(write_completion shell file)
  execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} "${binary}" --completion ${shell}
    RESULT_VARIABLE code ERROR_VARIABLE error OUTPUT_FILE "${file}")
  need_success("${program} --completion ${shell}")
endmacro()

foreach(program IN LISTS KMS_PROGRAMS)
  set(binary "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${program}")
  # Programs show defaults that depend on these variables. The pages must be the same for every packager.
  execute_process(COMMAND "${CMAKE_COMMAND}" -E env --unset=XDG_RUNTIME_DIR --unset=VAULT_KUBE_KMS_LOG_LEVEL
      ${CMAKE_CROSSCOMPILING_EMULATOR} "${binary}" --manual "${made}/man"
    RESULT_VARIABLE code ERROR_VARIABLE error OUTPUT_QUIET)
  need_success("${program} --manual")
  write_completion(bash "${bash}/${program}")
  write_completion(zsh "${zsh}/_${program}")
  write_completion(fish "${fish}/${program}.fish")
endforeach()
execute_process(COMMAND sh -c "gzip -9n *.1" WORKING_DIRECTORY "${made}/man" RESULT_VARIABLE code ERROR_VARIABLE error)
need_success(gzip)

# systemd.syntax(7), systemd.unit(5). systemd refuses a program whose path has quotes or backslashes, however they are written.
set(bin "${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/")
string(REPLACE "%" "%%" bin "${bin}")
string(REPLACE " " "\\x20" bin "${bin}")
foreach(unit IN ITEMS mock-kms-plugin.service mock-kms-plugin-build.service)
  file(READ "${PROJECT_SOURCE_DIR}/manifests/systemd/${unit}" text)
  string(REPLACE /usr/bin/ "${bin}" text "${text}")
  file(WRITE "${made}/systemd/${unit}" "${text}")
endforeach()

if(EXISTS "${PROJECT_SOURCE_DIR}/.git")
  set(source "${made}/share/mock-kms-plugin/source.git")
  # A path and no file:// address, because git decodes addresses. The checkout may belong to another user than root. git's other
  # process, which checks that, does not see this one's options.
  execute_process(COMMAND git clone -q --bare --depth 1 --no-local --upload-pack "git -c safe.directory=* upload-pack"
      "${PROJECT_SOURCE_DIR}" "${source}"
    RESULT_VARIABLE code ERROR_VARIABLE error)
  need_success("git clone ${PROJECT_SOURCE_DIR}")
  execute_process(COMMAND git -C "${source}" remote remove origin RESULT_VARIABLE code ERROR_VARIABLE error)
  need_success("git remote remove")
  file(REMOVE_RECURSE "${source}/hooks")
endif()

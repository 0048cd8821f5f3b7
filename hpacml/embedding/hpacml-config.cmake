# find_package(hpacml): the target hpacml::hpacml, which is libhpacml, and
#
#   hpacml_add_library(heat heat.py [CPU x86-64-v3] [TARGET sm_90] [FORTRAN])
#
# a static library of the kernels in a file of Python (or of the functions in a file of IR), with heat.h and, with
# FORTRAN, the module hpacml_heat. It is built anew when the file changes, by the Python that hpacml is installed for.
if(NOT TARGET hpacml::hpacml)
  add_library(hpacml::hpacml SHARED IMPORTED)
  set_target_properties(hpacml::hpacml PROPERTIES
    IMPORTED_LOCATION "@PREFIX@/lib/libhpacml.so"
    IMPORTED_SONAME "libhpacml.so"
    INTERFACE_INCLUDE_DIRECTORIES "@PREFIX@/include")
endif()

function(hpacml_add_library name source)
  cmake_parse_arguments(PARSE_ARGV 2 given "FORTRAN" "CPU;TARGET" "")
  if(given_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "hpacml_add_library takes CPU, TARGET and FORTRAN, and not: ${given_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(path "${source}" ABSOLUTE)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${name}.hpacml")
  set(outputs "${folder}/${name}.o" "${folder}/${name}.h")
  set(options --header "${folder}/${name}.h")
  if(given_FORTRAN)
    list(APPEND outputs "${folder}/${name}.f90")
    list(APPEND options --fortran "${folder}/${name}.f90")
  endif()
  if(given_CPU)
    list(APPEND options --cpu "${given_CPU}")
  endif()
  if(given_TARGET)
    list(APPEND options --target "${given_TARGET}")
  endif()
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND "@PYTHON@" -c "__import__('hpacml.tools.cli').tools.cli.main()" build "${path}" -o "${folder}/${name}.o" ${options}
    DEPENDS "${path}"
    COMMENT "Compiling kernels of ${source}"
    VERBATIM)
  add_library(${name} STATIC ${outputs})
  set_source_files_properties("${folder}/${name}.o" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  target_include_directories(${name} PUBLIC "${folder}")
  target_link_libraries(${name} PUBLIC hpacml::hpacml m)
  if(given_FORTRAN)
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE Fortran Fortran_MODULE_DIRECTORY "${folder}")
  else()
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C)
  endif()
endfunction()

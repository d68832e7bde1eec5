# `cmake --install`: the library, its headers, and the two ways to find them from another project,
# find_package(rein CONFIG) and pkg-config. tests/install consumes both.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(rein_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/rein)

install(TARGETS rein EXPORT rein-targets)
if(TARGET rein_io)
  install(TARGETS rein_io EXPORT rein-targets)
endif()
if(TARGET rein_app)
  install(TARGETS rein_app)
  file(RELATIVE_PATH rein_lib_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(rein_app PROPERTIES INSTALL_RPATH $ORIGIN/${rein_lib_from_bin})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/rein DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT rein-targets NAMESPACE rein:: DESTINATION ${rein_package_dir})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/rein-config.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/rein-config.cmake INSTALL_DESTINATION ${rein_package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/rein-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/rein-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/rein-config-version.cmake
        DESTINATION ${rein_package_dir})

# Relative, so that the installed tree may be moved, or installed under another --prefix.
file(RELATIVE_PATH rein_prefix_from_pkgconfig
     ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
set(rein_packages rein)
if(TARGET rein_io)
  list(APPEND rein_packages rein_io)
endif()
foreach(package ${rein_packages})
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${package}.pc.in ${package}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${package}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

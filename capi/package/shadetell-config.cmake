# find_package(shadetell CONFIG) gives the targets shadetell::shared and shadetell::static.

get_filename_component(_shadetell_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_package(Threads REQUIRED)

# A target for the first library of these names that there is.
function(_shadetell_add target kind)
  foreach(name IN LISTS ARGN)
    if(EXISTS "${_shadetell_prefix}/lib/${name}" AND NOT TARGET ${target})
      add_library(${target} ${kind} IMPORTED)
      set_target_properties(${target} PROPERTIES
        IMPORTED_LOCATION "${_shadetell_prefix}/lib/${name}"
        INTERFACE_INCLUDE_DIRECTORIES "${_shadetell_prefix}/include")
    endif()
  endforeach()
endfunction()

_shadetell_add(shadetell::shared SHARED libshadetell_c.so libshadetell_c.dylib shadetell_c.dll)
_shadetell_add(shadetell::static STATIC libshadetell_c.a shadetell_c.lib)
if(TARGET shadetell::shared AND WIN32)
  set_target_properties(shadetell::shared PROPERTIES IMPORTED_IMPLIB "${_shadetell_prefix}/lib/shadetell_c.dll.lib")
endif()
if(TARGET shadetell::static)
  if(APPLE)
    set(_shadetell_system "-framework CoreFoundation" "-framework Foundation" "-framework Metal" "-framework QuartzCore")
  elseif(WIN32)
    set(_shadetell_system ws2_32 userenv ntdll bcrypt ole32 oleaut32 propsys runtimeobject synchronization)
  else()
    set(_shadetell_system ${CMAKE_DL_LIBS} m)
  endif()
  set_target_properties(shadetell::static PROPERTIES INTERFACE_LINK_LIBRARIES "Threads::Threads;${_shadetell_system}")
endif()

set(shadetell_FOUND FALSE)
if(TARGET shadetell::shared OR TARGET shadetell::static)
  set(shadetell_FOUND TRUE)
endif()

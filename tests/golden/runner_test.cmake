# Checks that the runner can fail: cmake -DPROGRAM=golden_test -DTWO_PRODUCTS=golden_two_products
# -DWORK=folder -P runner_test.cmake
# Further arguments are the program's.
function(expect_exit status folder last_line)
  set(ENV{REIN_GOLDEN_DIR} ${folder})
  execute_process(COMMAND ${PROGRAM} ${ARGN} RESULT_VARIABLE got OUTPUT_VARIABLE output ERROR_VARIABLE error)
  if(NOT got STREQUAL status OR NOT output MATCHES "(^|\n)${last_line}\n$")
    message(FATAL_ERROR "${folder}: exit status ${got}, want ${status} after '${last_line}'\n${output}${error}")
  endif()
endfunction()

expect_exit(1 ${CMAKE_CURRENT_LIST_DIR}/wrong "golden: 3 passed, 9 failed, 6 skipped")
expect_exit(0 ${CMAKE_CURRENT_LIST_DIR}/features "golden: 19 passed, 0 failed, 5 skipped")
expect_exit(1 ${CMAKE_CURRENT_LIST_DIR}/features "golden: 19 passed, 0 failed, 5 skipped" --none-skipped)
file(MAKE_DIRECTORY ${WORK}/no_cases)
expect_exit(2 ${WORK}/no_cases "golden: 0 passed, 0 failed, 0 skipped")
expect_exit(2 ${WORK}/no_such_folder "golden: 0 passed, 0 failed, 0 skipped")

# One product of three is left out: every case of float32 fails; nothing is narrow in the two of float64.
set(PROGRAM ${TWO_PRODUCTS})
foreach(left_out low_high high_high high_low)
  set(ENV{REIN_LEAVE_OUT} ${left_out})
  expect_exit(1 ${CMAKE_CURRENT_LIST_DIR}/data "golden: 2 passed, 15 failed, 0 skipped" --prefix network/ --bf16x3)
endforeach()
set(ENV{REIN_LEAVE_OUT} none)
expect_exit(0 ${CMAKE_CURRENT_LIST_DIR}/data "golden: 17 passed, 0 failed, 0 skipped" --prefix network/ --bf16x3)

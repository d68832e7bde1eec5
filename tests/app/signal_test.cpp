// Runs that are asked to end.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "app/program.h"
#include "rein/io/safetensors.h"

namespace rein::test {
namespace {

std::vector<std::string> long_run() {
  return {"train",        "--data", "generated", "--limit", "200",   "--hidden", "8",
          "--batch-size", "16",     "--epochs",  "1000000", "--out", "r"};
}

TEST(Signal, TheStepIsFinishedAndSaved) {
  for (const auto& [signal, name] : {std::pair{SIGINT, "SIGINT"}, std::pair{SIGTERM, "SIGTERM"}}) {
    TemporaryFolder folder;
    Program program(folder, long_run());
    program.wait_until([&] { return program.out().find("epoch 1/") != std::string::npos; });
    program.send(signal);
    const Finished f = program.wait();
    EXPECT_EQ(f.code, 128 + signal);
    EXPECT_TRUE(contains(f.err, std::string("stopped by ") + name + " after step "));
    EXPECT_TRUE(contains(f.err, "r/model.safetensors"));
    const auto step = read_safetensors(folder / "r/model.safetensors").metadata.at("step");
    EXPECT_TRUE(contains(f.err, "after step " + step + ";"));
    EXPECT_EQ(rein(folder, {"eval", "r"}).code, 0);
  }
}

TEST(Signal, EvenInTheFirstEpoch) {
  TemporaryFolder folder;
  Program program(folder, with_last(long_run(), {"--limit", "20000"}));
  program.wait_until([&] { return program.out().find("training on") != std::string::npos; });
  program.send(SIGINT);
  EXPECT_EQ(program.wait().code, 130);
  EXPECT_EQ(program.out().find("epoch 1/"), std::string::npos);
  EXPECT_EQ(rein(folder, {"eval", "r", "--data", "generated"}).code, 0);
}

TEST(Signal, ASecondOneEndsAtOnce) {
  TemporaryFolder folder;
  // A step that takes long.
  const std::vector<std::string> slow{"--hidden", "1024",    "--batch-size",
                                      "1024",     "--limit", "1024"};
  Program program(folder, with_last(long_run(), slow));
  program.wait_until([&] { return program.out().find("training on") != std::string::npos; });
  program.send(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  program.send(SIGINT);
  EXPECT_EQ(program.wait().code, 130);
  EXPECT_FALSE(std::filesystem::exists(folder / "r/model.safetensors"));
}

}  // namespace
}  // namespace rein::test

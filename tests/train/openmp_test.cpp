// Steps under settings of OpenMP that are not the library's.
#include <gtest/gtest.h>

#include <fstream>

#include "support/started_again.h"
#include "train/bench_networks.h"

namespace rein {
namespace {

void write(std::ofstream& file, const Bytes& bytes) {
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

TEST(StepUnderOpenMp, AsTheProgramThatWasStarted) {
  if (!test::result_file()) GTEST_SKIP() << "runs in programs that the other test starts";
  std::ofstream file(test::result_file(), std::ios::binary);
  for (app::StepShape shape : bench_shapes())
    if (shape.name == "charrnn") {  // all kinds of products, embeddings, two layers
      shape.steps = 8;
      for (int threads : {1, 2}) {
        const Trained trained = train(shape, threads);
        write(file, trained.gradients);
        write(file, trained.parameters);
      }
    }
  EXPECT_TRUE(file.good());
}

TEST(StepUnderOpenMp, SettingsOfTheEnvironmentDoNotChangeABit) {
  if (test::result_file()) GTEST_SKIP();
  const auto result = [](const char* settings) {
    return test::result_under(settings, "StepUnderOpenMp.AsTheProgramThatWasStarted");
  };
  const std::string unset = result("");
  EXPECT_GT(unset.size(), 2 * 200000 * sizeof(float));  // parameters
  for (const char* settings : test::kOpenMpSettings)
    EXPECT_TRUE(result(settings) == unset) << settings;
}

}  // namespace
}  // namespace rein

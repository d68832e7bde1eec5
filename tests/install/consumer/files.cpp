// Of rein::io: what a step remembers goes to a file and comes back.
#include <rein/io/state_file.h>

#include <filesystem>
#include <string>

int main(int, char** arguments) {
  const std::filesystem::path file = arguments[0] + std::string(".safetensors");
  rein::save_state(file, {{"step", int64_t{3}}, {"w", rein::Tensor::of<float>({2}, {1, 2})}});
  const rein::StateDict state = rein::load_state(file);
  std::filesystem::remove(file);
  return std::get<int64_t>(state.at("step")) == 3 &&
                 std::get<rein::Tensor>(state.at("w")).flat<float>()[1] == 2
             ? 0
             : 1;
}

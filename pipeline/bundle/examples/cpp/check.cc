// Asks the model the golden inputs and compares what it answers. Arguments: the bundle's folder, and --exact, which
// allows no difference at all: for the runtime and processor that golden/index.json names.
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "golden.h"
#include "model.h"
#include "raw_values.h"

static std::vector<char> bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Whether an app that has values comes to the integers of a golden input.
static bool gives_back(const golden_tensor& end, const std::vector<char>& given) {
  if (end.scale == 0.0f) return true;  // it takes values as they are
  if (given.size() != end.bytes) return true;  // the model refuses it
  for (size_t place = 0; place < end.elements; ++place) {
    const auto integer = static_cast<int32_t>(golden_value(end.type, given.data(), place));
    const float value = from_output(integer, end.scale, end.zero_point);
    if (to_input(value, end.scale, end.zero_point, end.lowest, end.highest) != integer) return false;
  }
  return true;
}

// The name of the class with the highest value, of the first sample.
static const char* answer(const golden_tensor& end, const std::vector<char>& found) {
  size_t best = 0;
  for (size_t place = 1; place < end.label_count; ++place)
    if (golden_value(end.type, found.data(), place) > golden_value(end.type, found.data(), best)) best = place;
  return end.labels[best];
}

int main(int count, char** arguments) try {
  const std::string bundle = count > 1 ? arguments[1] : "../..";
  const bool exact = count > 2 && std::string(arguments[2]) == "--exact";
  Model model(bundle + "/" GOLDEN_MODEL);
  bool good = true;
  for (int pair = 0; pair < GOLDEN_PAIRS; ++pair) {
    Tensors inputs;
    for (int input = 0; input < GOLDEN_INPUTS; ++input) {
      const golden_tensor& end = golden_inputs[input];
      inputs[end.name] = bytes_of(bundle + "/golden/" + golden_input_files[pair][input]);
      if (gives_back(end, inputs[end.name])) continue;
      std::cout << "pair " << pair << " " << end.name << ": to_input gives other integers\n";
      good = false;
    }
    const Tensors answers = model(inputs);
    for (int output = 0; output < GOLDEN_OUTPUTS; ++output) {
      const golden_tensor& end = golden_outputs[output];
      const std::vector<char> wanted = bytes_of(bundle + "/golden/" + golden_output_files[pair][output]);
      const std::vector<char>& found = answers.at(end.name);
      double most = found.size() == wanted.size() ? 0.0 : NAN;
      for (size_t place = 0; place < end.elements && most == most; ++place) {
        const double apart =
            std::fabs(golden_value(end.type, found.data(), place) - golden_value(end.type, wanted.data(), place));
        if (!(apart <= most)) most = apart;
      }
      const double allowed = exact ? 0.0 : end.tolerance;
      good = good && most <= allowed;
      std::cout << "pair " << pair << " " << end.name << ": largest difference " << most << ", allowed " << allowed;
      if (end.label_count && found.size() == end.bytes) std::cout << ", answer " << answer(end, found);
      std::cout << "\n";
    }
  }
  std::cout << (good ? "good" : "DIFFERENT") << "\n";
  return good ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}

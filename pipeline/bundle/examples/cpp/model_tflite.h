// The model in LiteRT, by its C API. C++17. For the headers see litert_api.h.
#ifndef MODEL_H
#define MODEL_H

#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "golden.h"
#include "litert_api.h"

using Tensors = std::map<std::string, std::vector<char>>;

class Model {
 public:
  explicit Model(const std::string& path) {
    LiteRtOptions options = nullptr;
    LiteRtSignature signature = nullptr;
    good(LiteRtCreateEnvironment(0, nullptr, &environment_), "an environment");
    good(LiteRtCreateModelFromFile(environment_, path.c_str(), &model_), path);
    good(LiteRtCreateOptions(&options), "options");
    good(LiteRtSetOptionsHardwareAccelerators(options, LITERT_CPU), "the CPU");
    good(LiteRtCreateCompiledModel(environment_, model_, options, &compiled_), "a compiled model");
    LiteRtDestroyOptions(options);
    good(LiteRtGetModelSignature(model_, 0, &signature), "a signature");
    for (size_t index = 0; index < GOLDEN_INPUTS; ++index) {
      const char* name = nullptr;
      LiteRtTensorBufferRequirements wanted = nullptr;
      good(LiteRtGetSignatureInputName(signature, index, &name), "an input");
      good(LiteRtGetCompiledModelInputBufferRequirements(compiled_, 0, index, &wanted), name);
      inputs_.push_back(buffer(tensor(name, golden_inputs, GOLDEN_INPUTS), wanted));
      input_names_.emplace_back(name);
    }
    for (size_t index = 0; index < GOLDEN_OUTPUTS; ++index) {
      const char* name = nullptr;
      LiteRtTensorBufferRequirements wanted = nullptr;
      good(LiteRtGetSignatureOutputName(signature, index, &name), "an output");
      good(LiteRtGetCompiledModelOutputBufferRequirements(compiled_, 0, index, &wanted), name);
      outputs_.push_back(buffer(tensor(name, golden_outputs, GOLDEN_OUTPUTS), wanted));
      output_names_.emplace_back(name);
    }
  }

  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  ~Model() {
    for (LiteRtTensorBuffer one : inputs_) LiteRtDestroyTensorBuffer(one);
    for (LiteRtTensorBuffer one : outputs_) LiteRtDestroyTensorBuffer(one);
    LiteRtDestroyCompiledModel(compiled_);
    LiteRtDestroyModel(model_);
    LiteRtDestroyEnvironment(environment_);
  }

  // Raw bytes by the names of the inputs, in the types of signature.json; the same for the outputs.
  Tensors operator()(const Tensors& inputs) {
    void* address = nullptr;
    for (size_t index = 0; index < inputs_.size(); ++index) {
      const std::vector<char>& given = inputs.at(input_names_[index]);
      const size_t bytes = tensor(input_names_[index], golden_inputs, GOLDEN_INPUTS).bytes;
      if (given.size() != bytes)
        throw std::invalid_argument(input_names_[index] + " takes " + std::to_string(bytes) + " bytes, not " +
                                    std::to_string(given.size()));
      good(LiteRtLockTensorBuffer(inputs_[index], &address, LITERT_LOCK_WRITE), input_names_[index]);
      std::memcpy(address, given.data(), given.size());
      good(LiteRtUnlockTensorBuffer(inputs_[index]), input_names_[index]);
    }
    good(LiteRtRunCompiledModel(compiled_, 0, inputs_.size(), inputs_.data(), outputs_.size(), outputs_.data()), "run");
    Tensors answers;
    for (size_t index = 0; index < outputs_.size(); ++index) {
      const golden_tensor& end = tensor(output_names_[index], golden_outputs, GOLDEN_OUTPUTS);
      good(LiteRtLockTensorBuffer(outputs_[index], &address, LITERT_LOCK_READ), output_names_[index]);
      const char* bytes = static_cast<const char*>(address);
      answers[output_names_[index]].assign(bytes, bytes + end.bytes);
      good(LiteRtUnlockTensorBuffer(outputs_[index]), output_names_[index]);
    }
    return answers;
  }

 private:
  static void good(LiteRtStatus status, const std::string& what) {
    if (status) throw std::runtime_error("LiteRT refused " + what + ", status " + std::to_string(status));
  }

  static const golden_tensor& tensor(const std::string& name, const golden_tensor* tensors, int count) {
    for (int index = 0; index < count; ++index)
      if (name == tensors[index].name) return tensors[index];
    throw std::runtime_error("the model has an end that golden.h has not: " + name);
  }

  LiteRtTensorBuffer buffer(const golden_tensor& end, LiteRtTensorBufferRequirements wanted) {
    LiteRtRankedTensorType type{};
    type.element_type = end.type;
    type.rank = static_cast<uint32_t>(end.rank);
    for (int axis = 0; axis < end.rank; ++axis) type.dimensions[axis] = end.shape[axis];
    LiteRtTensorBuffer made = nullptr;
    good(LiteRtCreateManagedTensorBufferFromRequirements(environment_, &type, wanted, &made), end.name);
    return made;
  }

  LiteRtEnvironment environment_ = nullptr;
  LiteRtModel model_ = nullptr;
  LiteRtCompiledModel compiled_ = nullptr;
  std::vector<LiteRtTensorBuffer> inputs_, outputs_;
  std::vector<std::string> input_names_, output_names_;
};

#endif

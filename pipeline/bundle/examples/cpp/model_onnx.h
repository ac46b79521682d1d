// The model in ONNX Runtime, by its C++ API (onnxruntime_cxx_api.h of a release of ONNX Runtime). C++17.
#ifndef MODEL_H
#define MODEL_H

#include <onnxruntime_cxx_api.h>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "golden.h"

using Tensors = std::map<std::string, std::vector<char>>;

class Model {
 public:
  explicit Model(const std::string& path)
      : session_(environment_, std::basic_string<ORTCHAR_T>(path.begin(), path.end()).c_str(), Ort::SessionOptions()) {}

  // Raw bytes by the names of the inputs, in the types of signature.json; the same for the outputs.
  Tensors operator()(const Tensors& inputs) {
    auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<Ort::Value> given;
    std::vector<const char*> names, wanted;
    for (const golden_tensor& end : golden_inputs) {
      const std::vector<char>& bytes = inputs.at(end.name);
      const std::vector<int64_t> shape(end.shape, end.shape + end.rank);
      given.push_back(Ort::Value::CreateTensor(memory, const_cast<char*>(bytes.data()), bytes.size(), shape.data(),
                                               shape.size(), type(end.type)));
      names.push_back(end.name);
    }
    for (const golden_tensor& end : golden_outputs) wanted.push_back(end.name);
    const std::vector<Ort::Value> found =
        session_.Run(Ort::RunOptions{}, names.data(), given.data(), given.size(), wanted.data(), wanted.size());
    Tensors answers;
    for (size_t index = 0; index < found.size(); ++index) {
      const char* bytes = static_cast<const char*>(found[index].GetTensorRawData());
      answers[wanted[index]].assign(bytes, bytes + golden_outputs[index].bytes);
    }
    return answers;
  }

 private:
  static ONNXTensorElementDataType type(int golden) {
    switch (golden) {
      case GOLDEN_FLOAT32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
      case GOLDEN_INT8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
      case GOLDEN_UINT8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
      case GOLDEN_INT16: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16;
      case GOLDEN_INT32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
      default: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    }
  }

  Ort::Env environment_;
  Ort::Session session_;
};

#endif

// Stands in for TFLM's header of this name: for the operators in models of ours.
#pragma once

#include "tensorflow/lite/micro/micro_interpreter.h"

// method, kernel, its number in TFLite's schema, parser
#define TFLM_OPERATORS(OPERATOR)                                                       \
  OPERATOR(Add, ADD, 0, Add)                                                           \
  OPERATOR(AveragePool2D, AVERAGE_POOL_2D, 1, Pool)                                    \
  OPERATOR(Concatenation, CONCATENATION, 2, Concatenation)                             \
  OPERATOR(Conv2D, CONV_2D, 3, Conv2D)                                                 \
  OPERATOR(DepthwiseConv2D, DEPTHWISE_CONV_2D, 4, DepthwiseConv2D)                     \
  OPERATOR(Dequantize, DEQUANTIZE, 6, Dequantize)                                      \
  OPERATOR(FullyConnected, FULLY_CONNECTED, 9, FullyConnected)                         \
  OPERATOR(Logistic, LOGISTIC, 14, Logistic)                                           \
  OPERATOR(MaxPool2D, MAX_POOL_2D, 17, Pool)                                           \
  OPERATOR(Mul, MUL, 18, Mul)                                                          \
  OPERATOR(Relu, RELU, 19, Relu)                                                       \
  OPERATOR(Relu6, RELU6, 21, Relu6)                                                    \
  OPERATOR(Reshape, RESHAPE, 22, Reshape)                                              \
  OPERATOR(Softmax, SOFTMAX, 25, Softmax)                                              \
  OPERATOR(Tanh, TANH, 28, Tanh)                                                       \
  OPERATOR(Pad, PAD, 34, Pad)                                                          \
  OPERATOR(Transpose, TRANSPOSE, 39, Transpose)                                        \
  OPERATOR(Mean, MEAN, 40, Reducer)                                                    \
  OPERATOR(Sub, SUB, 41, Sub)                                                          \
  OPERATOR(UnidirectionalSequenceLSTM, UNIDIRECTIONAL_SEQUENCE_LSTM, 44, UnidirectionalSequenceLSTM) \
  OPERATOR(StridedSlice, STRIDED_SLICE, 45, StridedSlice)                              \
  OPERATOR(Shape, SHAPE, 77, Shape)                                                    \
  OPERATOR(Pack, PACK, 83, Pack)                                                       \
  OPERATOR(Quantize, QUANTIZE, 114, Quantize)

namespace tflite {
inline namespace micro {

#define TFLM_DECLARE(method, kernel, number, parser) \
  TFLMRegistration Register_##kernel();              \
  TfLiteStatus Parse##parser(const Operator*, BuiltinDataAllocator*, void**);
TFLM_OPERATORS(TFLM_DECLARE)
#undef TFLM_DECLARE

template <unsigned int kRoom>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
#define TFLM_METHOD(method, kernel, number, parser) \
  TfLiteStatus Add##method() { return add(number, Register_##kernel(), Parse##parser); }
  TFLM_OPERATORS(TFLM_METHOD)
#undef TFLM_METHOD

  const TFLMRegistration* FindOp(BuiltinOperator kind) const override {
    for (unsigned int place = 0; place < count_; ++place) {
      if (kernels_[place].builtin_code == kind) return &kernels_[place];
    }
    return nullptr;
  }
  const TFLMRegistration* FindOp(const char*) const override { return nullptr; }
  BuiltinParser GetOpDataParser(BuiltinOperator kind) const override {
    for (unsigned int place = 0; place < count_; ++place) {
      if (kernels_[place].builtin_code == kind) return parsers_[place];
    }
    return nullptr;
  }

 private:
  TfLiteStatus add(int number, const TFLMRegistration& kernel, BuiltinParser parser) {
    if (count_ == kRoom || FindOp(static_cast<BuiltinOperator>(number)) != nullptr) return kTfLiteError;
    kernels_[count_] = kernel;
    kernels_[count_].builtin_code = number;
    parsers_[count_++] = parser;
    return kTfLiteOk;
  }

  TFLMRegistration kernels_[kRoom];
  BuiltinParser parsers_[kRoom];
  unsigned int count_ = 0;
};

}  // namespace micro
}  // namespace tflite

// Stands in for TFLM's header of this name: what a program calls of it.
#pragma once

#include <cstdint>
#include <cstring>

namespace tflite {

struct Model;
struct Operator;
enum BuiltinOperator : int32_t {};

// A flatbuffer begins with the offset of its root.
inline const Model* GetModel(const void* content) {
  uint32_t offset;
  std::memcpy(&offset, content, sizeof(offset));
  return reinterpret_cast<const Model*>(static_cast<const uint8_t*>(content) + offset);
}

}  // namespace tflite

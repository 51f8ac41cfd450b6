// Non-owning, typed views of device or host memory. Counts are elements and always come from the view.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.h"
#include "core/error.h"

namespace llama_zero {

namespace detail {
template <typename Byte>
class BasicView {
 public:
  BasicView() = default;
  BasicView(Byte* data, std::int64_t numel, DType dtype) : data_(data), numel_(numel), dtype_(dtype) {}

  std::int64_t numel() const { return numel_; }
  DType dtype() const { return dtype_; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel_) * size_of(dtype_); }
  bool empty() const { return numel_ == 0; }
  /// False for a default-constructed view: an optional argument that was not given.
  explicit operator bool() const { return data_ != nullptr; }
  Byte* raw() const { return data_; }

  /// Elements [offset, offset + count). Throws Error when they are not all inside this view.
  BasicView slice(std::int64_t offset, std::int64_t count) const {
    require(offset >= 0 && count >= 0 && offset + count <= numel_, "view slice [{}, +{}) of {} elements", offset, count,
            numel_);
    return {data_ + static_cast<std::size_t>(offset) * size_of(dtype_), count, dtype_};
  }

 protected:
  void require_dtype(DType wanted) const {
    require(dtype_ == wanted, "view holds {}, not {}", name_of(dtype_), name_of(wanted));
  }

  Byte* data_ = nullptr;
  std::int64_t numel_ = 0;
  DType dtype_ = DType::kU8;
};
}  // namespace detail

/// Writable view.
class View : public detail::BasicView<std::byte> {
 public:
  using BasicView::BasicView;
  View(const BasicView& base) : BasicView(base) {}
  template <typename T>
  static View of(std::span<T> values) {
    return {reinterpret_cast<std::byte*>(values.data()), static_cast<std::int64_t>(values.size()), DTypeOf<T>::value};
  }
  View slice(std::int64_t offset, std::int64_t count) const { return BasicView::slice(offset, count); }
  /// Typed pointer. Throws Error when the view holds another dtype.
  template <typename T>
  T* as() const {
    require_dtype(DTypeOf<T>::value);
    return reinterpret_cast<T*>(data_);
  }
  /// Typed span; host memory only.
  template <typename T>
  std::span<T> span() const { return {as<T>(), static_cast<std::size_t>(numel_)}; }
};

/// Read-only view; every View converts to one.
class ConstView : public detail::BasicView<const std::byte> {
 public:
  using BasicView::BasicView;
  ConstView(const BasicView& base) : BasicView(base) {}
  ConstView(const View& view) : BasicView(view.raw(), view.numel(), view.dtype()) {}
  template <typename T>
  static ConstView of(std::span<const T> values) {
    return {reinterpret_cast<const std::byte*>(values.data()), static_cast<std::int64_t>(values.size()),
            DTypeOf<T>::value};
  }
  ConstView slice(std::int64_t offset, std::int64_t count) const { return BasicView::slice(offset, count); }
  template <typename T>
  const T* as() const {
    require_dtype(DTypeOf<T>::value);
    return reinterpret_cast<const T*>(data_);
  }
  template <typename T>
  std::span<const T> span() const { return {as<T>(), static_cast<std::size_t>(numel_)}; }
};

}  // namespace llama_zero

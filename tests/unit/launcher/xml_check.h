// Whether a text is well-formed XML, as far as our pages go: one root, elements that close in order, quoted attributes
// that are there once, entities, no control characters.
#pragma once

#include <cctype>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace llama_zero::test {

class XmlCheck {
 public:
  /// What is wrong with `text`, and where; "" when it is well-formed.
  static std::string problem(std::string_view text) { return XmlCheck(text).check(); }

 private:
  explicit XmlCheck(std::string_view text) : text_(text) {}

  std::string check() {
    skip_document_type();
    while (problem_.empty() && at_ < text_.size()) {
      if (text_[at_] == '<') {
        element();
      } else {
        characters();
      }
    }
    if (problem_.empty() && !open_.empty()) wrong("<" + open_.back() + "> is not closed");
    if (problem_.empty() && !root_seen_) wrong("there is no element");
    return problem_;
  }

  void wrong(const std::string& what) {
    const std::size_t begin = at_ < 20 ? 0 : at_ - 20;
    if (problem_.empty()) problem_ = what + " near \"" + std::string(text_.substr(begin, 60)) + "\"";
  }

  bool starts(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void skip_document_type() {
    constexpr std::string_view kType = "<!DOCTYPE html>";
    if (starts(kType)) at_ += kType.size();
  }

  std::string name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '-' ||
                                  text_[at_] == ':' || text_[at_] == '_')) {
      ++at_;
    }
    if (at_ == begin) wrong("a name is missing");
    return std::string(text_.substr(begin, at_ - begin));
  }

  void spaces() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }

  void expect(char letter) {
    if (at_ < text_.size() && text_[at_] == letter) {
      ++at_;
    } else {
      wrong(std::string("'") + letter + "' is missing");
    }
  }

  void element() {
    ++at_;
    if (starts("/")) {
      ++at_;
      const std::string closed = name();
      if (open_.empty() || open_.back() != closed) return wrong("</" + closed + "> closes what is not open");
      open_.pop_back();
      return expect('>');
    }
    if (open_.empty() && root_seen_) return wrong("a second root");
    root_seen_ = true;
    const std::string opened = name();
    attributes();
    if (starts("/>")) {
      at_ += 2;
      return;
    }
    open_.push_back(opened);
    expect('>');
  }

  void attributes() {
    std::set<std::string> seen;
    for (spaces(); problem_.empty() && at_ < text_.size() && text_[at_] != '>' && text_[at_] != '/'; spaces()) {
      if (!seen.insert(name()).second) return wrong("an attribute twice");
      expect('=');
      expect('"');
      while (problem_.empty() && at_ < text_.size() && text_[at_] != '"') character();
      expect('"');
    }
  }

  void characters() {
    const bool outside = open_.empty();
    if (outside && std::isspace(static_cast<unsigned char>(text_[at_])) == 0) return wrong("text outside the root");
    character();
  }

  void character() {
    const auto code = static_cast<unsigned char>(text_[at_]);
    if (code == '<') return wrong("'<' in text");
    if (code < 0x20 && code != '\n' && code != '\t') return wrong("a control character");
    if (code == '&' && !entity()) return wrong("'&' that begins no entity");
    ++at_;
  }

  bool entity() const {
    for (const std::string_view known : {"&amp;", "&lt;", "&gt;", "&quot;"}) {
      if (starts(known)) return true;
    }
    return false;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> open_;
  bool root_seen_ = false;
  std::string problem_;
};

}  // namespace llama_zero::test

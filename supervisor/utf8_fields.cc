#include "supervisor/utf8_fields.h"

#include <google/protobuf/descriptor.h>

#include <vector>

#include "proto/program/json.h"

namespace kms::supervisor {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void clean_string(Message& message, const Reflection& fields, const FieldDescriptor* field) {
  if (!field->is_repeated()) {
    fields.SetString(&message, field, utf8_text(fields.GetString(message, field)));
    return;
  }
  for (int i = 0; i < fields.FieldSize(message, field); ++i) {
    fields.SetRepeatedString(&message, field, i, utf8_text(fields.GetRepeatedString(message, field, i)));
  }
}

void clean_message(Message& message, const Reflection& fields, const FieldDescriptor* field) {
  if (!field->is_repeated()) {
    make_fields_utf8(*fields.MutableMessage(&message, field));
    return;
  }
  for (int i = 0; i < fields.FieldSize(message, field); ++i) {
    make_fields_utf8(*fields.MutableRepeatedMessage(&message, field, i));
  }
}

}  // namespace

void make_fields_utf8(Message& message) {
  const Reflection& fields = *message.GetReflection();
  std::vector<const FieldDescriptor*> present;
  fields.ListFields(message, &present);
  for (const FieldDescriptor* field : present) {
    if (field->type() == FieldDescriptor::TYPE_STRING) clean_string(message, fields, field);
    if (field->type() == FieldDescriptor::TYPE_MESSAGE) clean_message(message, fields, field);
  }
}

}  // namespace kms::supervisor

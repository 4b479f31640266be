#include "provider/inspect/text.h"

#include <map>

#include "common/crypto/secret_bytes.h"
#include "common/text/escape.h"

namespace kms::provider {
namespace {

using mock_kms::v1::EncryptedObject;

std::string row(std::string name, const std::string& text) {
  name.resize(13, ' ');
  return name + text + "\n";
}

std::string count(std::uint32_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

std::string annotation_rows(const mock_kms::v1::InspectReport& report) {
  std::string rows;
  const std::map<std::string, std::string> sorted(report.annotations().begin(), report.annotations().end());
  for (const auto& [key, value] : sorted) {
    rows +=
        row(rows.empty() ? "annotations" : "", visible_text(key) + " = " + visible_text(utf8_text(value)));
  }
  return rows.empty() ? row("annotations", "none") : rows;
}

std::string object_rows(const mock_kms::v1::InspectReport& report, bool reveal) {
  if (!report.has_object()) {
    return row("object", report.etcd_key().empty() ? "not decrypted: its key in etcd is not known, see --key"
                                                   : "not decrypted");
  }
  const auto& object = report.object();
  std::string rows = row("object", count(object.bytes()) + ", sha256 " + object.sha256());
  if (!reveal) return rows;
  std::string shown = visible_text(utf8_text(object.plaintext()));
  const WipeAtEnd wiping(shown);
  return rows + row("plaintext", shown);
}

}  // namespace

std::string inspect_text(const mock_kms::v1::InspectReport& report, bool reveal) {
  std::string text;
  if (!report.etcd_key().empty()) text += row("etcd key", visible_text(report.etcd_key()));
  text += row("provider", visible_text(report.provider_name()));
  text += row("key_id", visible_text(report.key_id()));
  text += annotation_rows(report);
  text += row("stored", "DEK source of " + count(report.encrypted_dek_source_bytes()) + " (" +
                            EncryptedObject::DekSourceType_Name(report.dek_source_type()) + "), data of " +
                            count(report.encrypted_data_bytes()));
  if (report.has_dek_source()) {
    text += row("DEK source",
                count(report.dek_source().bytes()) + ", decrypted by " + report.dek_source().decrypted_by());
  } else {
    text += row("DEK source", "not decrypted");
  }
  return text + object_rows(report, reveal);
}

}  // namespace kms::provider

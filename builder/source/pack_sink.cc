#include "builder/source/pack_sink.h"

namespace kms::builder {

PackSink::PackSink(git_repository* repository, FetchMeter& meter)
    : meter_(meter), inspector_(meter.max_bytes) {
  git_odb* objects = nullptr;
  git::check(git_repository_odb(&objects, repository), "open the temporary repository");
  objects_.reset(objects);
  git_odb_writepack* writer = nullptr;
  git::check(git_odb_write_pack(&writer, objects, on_progress, this), "write a pack");
  writer_.reset(writer);
}

void PackSink::append(std::string_view bytes) {
  inspector_.add(bytes);
  git::check(writer_->append(writer_.get(), bytes.data(), bytes.size(), &progress_), "fetch a pack");
}

void PackSink::finish() {
  git::check(writer_->commit(writer_.get(), &progress_), "fetch a pack");
  git::check(git_odb_refresh(objects_.get()), "read what was fetched");
}

int PackSink::on_progress(const git_indexer_progress* progress, void* self) {
  FetchMeter& meter = static_cast<PackSink*>(self)->meter_;
  ++meter.beats;  // deltas are resolved when all is received: no more comes, and it may take long
  meter.objects = progress->received_objects;
  meter.objects_total = progress->total_objects;
  return meter.cancelled ? static_cast<int>(GIT_EUSER) : 0;
}

}  // namespace kms::builder

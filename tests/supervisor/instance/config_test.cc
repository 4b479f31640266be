#include "supervisor/instance/config.h"

#include <doctest/doctest.h>

#include "supervisor/commands/run.h"

namespace kms::supervisor {
namespace {

Endpoint endpoint(const std::string& text) { return *Endpoint::parse(text); }

std::string refusal(const RunOptions& options) {
  const auto outcome = supervisor_config(options);
  return outcome.ok() ? "" : outcome.error().line();
}

}  // namespace

TEST_CASE("an instance's number stands wherever {n} does") {
  CHECK(numbered("unix:///run/{n}/kms-{n}.sock", 12) == "unix:///run/12/kms-12.sock");
  CHECK(numbered("{n}{n}", 3) == "33");
  CHECK(numbered("{N} {} n", 3) == "{N} {} n");

  RunOptions options;
  options.instances = 2;
  options.socket = "unix:///run/kms-{n}.sock";
  options.command = {"plugin", "--name=node-{n}"};
  const auto plugins = supervisor_config(options)->plugins;
  REQUIRE(plugins.size() == 2);
  CHECK(plugins[1].socket.uri() == "unix:///run/kms-2.sock");
  CHECK(plugins[1].plugin.command == std::vector<std::string>{"plugin", "--name=node-2"});
}

TEST_CASE("several instances on one socket are refused") {
  RunOptions options;
  options.instances = 2;
  options.command = {"plugin"};
  CHECK(refusal(options) ==
        "--socket: 2 instances cannot share unix:///var/run/kmsplugin/kms.sock; write {n} in place of the "
        "instance's "
        "number");
}

TEST_CASE("an unknown user is refused before anything is started") {
  RunOptions options;
  options.command = {"plugin"};
  options.child_user = "no-such-user";
  CHECK(refusal(options) == "--child-user: there is no user 'no-such-user'; use a name or a number");
  options.child_user = "4294967295";  // to setresuid(2) it means "as before", which may be root
  CHECK(refusal(options) == "--child-user: there is no user '4294967295'; use a name or a number");
  options.child_user = "0:4294967295";
  CHECK(refusal(options) == "--child-user: there is no group '4294967295'; use a name or a number");
}

TEST_CASE("a plugin that is told to listen elsewhere is called out") {
  const Endpoint socket = endpoint("unix:///run/a.sock");
  CHECK(other_endpoint({"p", "--listen-addr=unix:///run/b.sock"}, {}, socket) ==
        "the plugin is set to listen on unix:///run/b.sock, and the supervisor's --socket is "
        "unix:///run/a.sock");
  CHECK(other_endpoint({"p", "-listen-addr", "/run/b.sock"}, {}, socket) != "");
  CHECK(other_endpoint({"p"}, {"MOCK_KMS_LISTEN_ADDR=unix:///@b"}, socket) != "");
  CHECK(other_endpoint({"p", "--listen-addr=unix:///run/a.sock"}, {"MOCK_KMS_LISTEN_ADDR=unix:///@b"},
                       socket) == "");
  CHECK(other_endpoint({"p", "--listen-addr", "/run/a.sock"}, {}, socket) == "");
  CHECK(other_endpoint({"p", "--listen-addr"}, {}, socket) == "");
}

TEST_CASE("the provider's control socket is the one that it is told, else the one beside its socket") {
  const Endpoint socket = endpoint("unix:///run/a.sock");
  CHECK(control_of({"p"}, {}, socket) == "unix:///run/a.sock.control");
  CHECK(control_of({"p"}, {}, endpoint("unix:///@a")) == "unix:///@a.control");
  CHECK(control_of({"p", "--control-socket=unix:///run/c.sock"}, {}, socket) == "unix:///run/c.sock");
  CHECK(control_of({"p", "-control-socket", "unix:///@c"}, {}, socket) == "unix:///@c");
  CHECK(control_of({"p"}, {"MOCK_KMS_CONTROL_SOCKET=/run/c.sock"}, socket) == "unix:///run/c.sock");
  CHECK(control_of({"p", "--control-socket=no/endpoint"}, {}, socket) == "");
  const Endpoint longest = endpoint("unix:///" + std::string(Endpoint::max_length - 1, 'x'));
  CHECK(control_of({"p"}, {}, longest) == "");
}

}  // namespace kms::supervisor

#include "common/cli/command_line.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "common/text/logins.h"

using namespace std::chrono_literals;

namespace {

/// A program with one command, as the real ones are made.
struct Program {
  Program() {
    CLI::App& serve = *line.app().add_subcommand("serve", "Serve");
    serve.add_option("--listen-addr", address, "Address")->capture_default_str();
    kms::add_duration(serve, "--timeout", timeout, "Time-out", 1ms);
    serve.add_option("words", words, "Words");
    serve.add_option("-o,--output", output, "text or json");
    line.app().add_subcommand("watch", "Watch")->add_option("--listen-port", port, "Port");
    line.default_command("serve");
  }

  std::optional<int> parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "tool");
    return line.parse(static_cast<int>(arguments.size()), arguments.data());
  }

  kms::CommandLine line{"tool", "Does things.", "TOOL_"};
  std::string address = "default";
  kms::Duration timeout = 5s;
  std::vector<std::string> words;
  std::string output = "text";
  std::string port;
};

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("long options work with two dashes and with Go's one, with and without the default command") {
  for (const char* argument : {"--listen-addr=x", "-listen-addr=x"}) {
    CAPTURE(argument);
    Program bare;
    CHECK_FALSE(bare.parse({argument}));
    CHECK(bare.address == "x");
    Program named;
    CHECK_FALSE(named.parse({"serve", argument}));
    CHECK(named.address == "x");
  }
  Program apart;
  CHECK_FALSE(apart.parse({"-listen-addr", "x", "-timeout", "2s"}));
  CHECK(apart.address == "x");
  CHECK(apart.timeout == 2s);
}

TEST_CASE("a one-letter option takes its value apart, joined or after an equals sign") {
  for (const auto& arguments : std::vector<std::vector<const char*>>{{"-o", "json"},
                                                                     {"-ojson"},
                                                                     {"-o=json"},
                                                                     {"--output=json"},
                                                                     {"-output=json"},
                                                                     {"-output", "json"}}) {
    CAPTURE(arguments.front());
    Program program;
    CHECK_FALSE(program.parse(arguments));
    CHECK(program.output == "json");
  }
}

TEST_CASE("an option may be given an empty value, as Go takes it") {
  Program program;
  CHECK_FALSE(program.parse({"-listen-addr=", "-timeout=2s", "--", "-x="}));
  CHECK(program.address.empty());
  CHECK(program.timeout == 2s);
  CHECK(program.words == std::vector<std::string>{"-x="});
}

TEST_CASE("another program's names of log levels are taken where they are asked for") {
  Program program;
  CHECK(program.parse({"--log-level", "warn"}) == 2);
  Program accepting;
  accepting.line.accept_log_level("warn", "warning");
  accepting.line.accept_log_level("trace", "debug");
  CHECK_FALSE(accepting.parse({"--log-level", "warn"}));
}

TEST_CASE("no argument at all means the default command and its defaults") {
  Program program;
  CHECK_FALSE(program.parse({}));
  CHECK(program.address == "default");
  CHECK(program.timeout == 5s);
}

TEST_CASE("an environment variable stands for its option, and the option wins") {
  const Variable variable("TOOL_LISTEN_ADDR", "from environment");
  Program program;
  CHECK_FALSE(program.parse({}));
  CHECK(program.address == "from environment");
  Program with_option;
  CHECK_FALSE(with_option.parse({"--listen-addr", "from option"}));
  CHECK(with_option.address == "from option");
}

TEST_CASE("a variable of a command that was not named does not touch what it shares with the one that was") {
  const Variable variable("TOOL_SOCKET", "from environment");
  kms::CommandLine line("tool", "Does things.", "TOOL_");
  std::string socket = "default";
  for (const char* name : {"encrypt", "decrypt"})
    line.app().add_subcommand(name)->add_option("--socket", socket);
  const std::vector<const char*> arguments{"tool", "encrypt", "--socket", "from option"};
  CHECK_FALSE(line.parse(static_cast<int>(arguments.size()), arguments.data()));
  CHECK(socket == "from option");
}

TEST_CASE("words after -- are left as they are") {
  Program program;
  CHECK_FALSE(program.parse({"serve", "--", "-single-dash", "--listen-addr=x"}));
  CHECK(program.words == std::vector<std::string>{"-single-dash", "--listen-addr=x"});
  CHECK(program.address == "default");
}

TEST_CASE("a bad option, value or command is a usage error, help and version are none") {
  for (const auto& arguments : std::vector<std::vector<const char*>>{{"--listen-adr=x"},
                                                                     {"--timeout", "soon"},
                                                                     {"--timeout", "0"},
                                                                     {"sevre"},
                                                                     {"--log-format", "xml"}}) {
    CAPTURE(arguments[0]);
    CHECK(Program().parse(arguments) == 2);
  }
  CHECK(Program().parse({"--help"}) == 0);
  CHECK(Program().parse({"serve", "--help"}) == 0);
  CHECK(Program().parse({"--version"}) == 0);
}

TEST_CASE("an unsigned option takes whole numbers only, in decimal") {
  const auto parse = [](const std::string& text, std::optional<unsigned>& count) {
    kms::CommandLine line("tool", "Does things.", "TOOL_");
    line.app().add_subcommand("list", "List")->add_option("--tail", count);
    const std::vector<const char*> arguments{"tool", "list", "--tail", text.c_str()};
    return line.parse(static_cast<int>(arguments.size()), arguments.data());
  };
  std::optional<unsigned> count;
  for (const char* wrong :
       {"-1", "+1", "abc", "1x", "1.5", "0x10", " 1", "4294967296", "99999999999999999999"}) {
    CAPTURE(wrong);
    CHECK(parse(wrong, count) == 2);
  }
  CHECK_FALSE(parse("4294967295", count));
  CHECK(count == 4294967295);
  CHECK_FALSE(parse("010", count));
  CHECK(count == 10U);
  CHECK_FALSE(parse("0", count));
  CHECK(count == 0U);
}

TEST_CASE("an unsigned option is checked in the environment too") {
  const Variable variable("TOOL_TAIL", "-1");
  kms::CommandLine line("tool", "Does things.", "TOOL_");
  unsigned count = 0;
  line.app().add_subcommand("list", "List")->add_option("--tail", count);
  const std::vector<const char*> arguments{"tool", "list"};
  CHECK(line.parse(2, arguments.data()) == 2);
}

TEST_CASE("the nearest name is suggested only where it is near") {
  const std::vector<std::string> names{"--listen-addr", "--timeout", "--seed-file"};
  CHECK(kms::nearest("--lisen-addr", names) == "--listen-addr");
  CHECK(kms::nearest("--listenaddr", names) == "--listen-addr");
  CHECK(kms::nearest("--verbose-mode", names) == "");
  CHECK(kms::nearest("x", {}) == "");
}

TEST_CASE("a login of a URL is taken out of a message, wherever the URL was given") {
  CHECK(kms::without_logins("'https://me:pw@host/x' is no ref") == "'https://***@host/x' is no ref");
  CHECK(kms::without_logins("ssh://a:b@c@host, http://host/x") == "ssh://***@host, http://host/x");
  CHECK(kms::without_logins("https://me:p/w?x#@host a@b") == "https://***@host a@b");
  CHECK(kms::without_logins("no URL ://") == "no URL ://");
}

TEST_CASE("an abstract socket or a file with an @ is no login") {
  CHECK(kms::without_logins("use unix:///path or unix:///@name") == "use unix:///path or unix:///@name");
  CHECK(kms::without_logins("file:///a@b https://me:pw@host") == "file:///a@b https://***@host");
  CHECK(kms::without_logins("no-unix://me:pw@host") == "no-unix://***@host");
}

TEST_CASE("a login without a scheme is taken out of what a user typed, other words with an @ stay") {
  CHECK(kms::without_logins_of_words("'me:pw@host/x' is no ref") == "'***@host/x' is no ref");
  CHECK(kms::without_logins_of_words("--format: me:p@w@host:x not in a") == "--format: ***@host:x not in a");
  CHECK(kms::without_logins_of_words("git@host:x unix:///run/a:b@c a@b @") ==
        "git@host:x unix:///run/a:b@c a@b @");
  CHECK(kms::without_logins_of_words("a:b@c 'd:e@f'") == "***@c '***@f'");
}

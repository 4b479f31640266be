"""The build cache: never twice the same compile, and what it does with damage, with others and with its end."""
import json
import os
import shutil
import subprocess

import pytest
from conftest import BUILDER, cxx_project, plugin, project
from support.git_servers import RefusedPort
from test_build import info_of, output_of

ENTRIES = "cache/entries"


@pytest.fixture
def cached(workshop):
    """A workshop with a cache in its usual place. gone() removes all that the builder made but the cache."""
    del workshop.environment["BUILDER_CACHE_MAX"]

    def gone():
        shutil.rmtree(workshop.output.parent, ignore_errors=True)

    workshop.gone = gone
    return workshop


def entries(workshop):
    return sorted((workshop.build_dir / ENTRIES).iterdir())


def test_a_binary_that_was_made_before_is_published_without_a_compile(cached):
    cached.source.commit(project())
    first = cached.built()
    cached.gone()
    done = cached.built()
    assert cached.compilations() == 1
    assert done.out.startswith("From the cache:") and first.out.startswith("Published:")
    assert output_of(cached) == "plugin 1.0\n"
    info = info_of(cached)
    assert info["fromCache"] is True
    assert info["binary"]["path"] == str(cached.output)
    assert [phase["name"] for phase in info["phases"]] == ["fetch", "checkout", "configure", "compile", "smoke-test", "publish"]
    assert cached.built().out.startswith("Up to date:")


def test_a_compiled_binary_does_not_say_that_it_is_from_the_cache(cached):
    cached.source.commit(project())
    cached.built()
    assert "fromCache" not in info_of(cached)


def test_going_back_to_an_earlier_source_compiles_nothing(cached):
    first = cached.source.commit(project("1.0"))
    cached.built()
    second = cached.source.commit({"provider/plugin.sh": plugin("2.0")})
    cached.built()
    for commit, text in [(first, "plugin 1.0\n"), (second, "plugin 2.0\n"), (first, "plugin 1.0\n")]:
        cached.built("--ref", commit)
        assert output_of(cached) == text
        assert info_of(cached)["commit"] == commit
    assert cached.compilations() == 2


@pytest.mark.parametrize("pin", ["--ref", "--commit"])
def test_a_pinned_commit_needs_no_network(cached, git_http, pin):
    commit = cached.source.commit(project())
    url = git_http.url("source/.git")
    cached.built(repo=url)
    cached.gone()
    with RefusedPort() as server:
        done = cached.built(pin, commit, repo=f"http://127.0.0.1:{server.port}/source/.git")
    assert done.out.startswith("From the cache:")
    assert info_of(cached)["transfer"] == {"strategy": "none"}
    assert info_of(cached)["commit"] == commit
    assert cached.compilations() == 1


def test_a_ref_is_looked_up_and_nothing_else(cached, git_http):
    commit = cached.source.commit(project())
    url = git_http.url("source/.git")
    cached.built(repo=url)
    for output in ("there", "gone"):
        if output == "gone":
            cached.gone()
        done = cached.built("--ref", "main", repo=url)
        transfer = info_of(cached)["transfer"]
        assert transfer["strategy"] == "ref alone" and transfer["requests"] == 2, done.err  # the advertisement and the look-up
        assert transfer["bytes"] < 2000
    assert info_of(cached)["commit"] == commit
    cached.source.commit({"provider/plugin.sh": plugin("2.0")})
    cached.built("--ref", "main", repo=url)
    assert output_of(cached) == "plugin 2.0\n"
    assert cached.compilations() == 2


def test_a_pin_that_the_ref_does_not_lead_to_is_refused_though_all_is_cached(cached, git_http):
    first = cached.source.commit(project("1.0"))
    cached.built(repo=git_http.url("source/.git"))
    cached.source.commit({"provider/plugin.sh": plugin("2.0")})
    cached.built(repo=git_http.url("source/.git"))
    cached.gone()
    done = cached.build("--ref", "0" * 40, "--commit", first, repo=git_http.url("source/.git"))
    assert done.returncode == 1
    assert not cached.output.exists()


def test_other_questions_of_a_commit_are_other_answers(cached):
    commit = cached.source.commit(project(**{"other/x": "x"}))
    cached.built("--ref", commit)
    cached.gone()
    cached.built("--ref", commit, "--path", "provider", "--path", "other")
    assert [path["path"] for path in info_of(cached)["paths"]] == ["provider", "other"]
    assert cached.compilations() == 2


@pytest.mark.parametrize("options", [["--define", "X=1"], ["--env", "A=1"], ["--flag=-DX=2"]])
def test_another_recipe_is_another_binary(cached, options):
    cached.source.commit(project())
    cached.built()
    cached.gone()
    log = f"BUILD_LOG={cached.build_log}"
    assert cached.built("--env", log, *options).out.startswith("Published:")
    assert cached.compilations() == 2
    assert len(entries(cached)) == 2


def test_a_flag_is_not_taken_for_a_variable_of_the_same_words(cached):
    cached.source.commit({"provider/Makefile": 'plugin:\n\tprintf "#!/bin/sh\\necho $(origin WORD)\\n" > $$OUTPUT; chmod +x $$OUTPUT\n'})
    del cached.environment["BUILDER_ENV"]
    found = set()
    for option in ("--flag", "--env"):
        cached.gone()
        cached.built("--path", "provider", "--target", "plugin", option, "WORD=x")
        found.add(output_of(cached))
    assert found == {"command line\n", "environment\n"}


def test_another_content_of_an_input_is_another_binary(cached):
    shown = cached.directory / "shown"
    shown.write_text("one")
    cached.source.commit({"provider/Makefile": f'plugin:\n\tprintf "#!/bin/sh\\necho $$(cat {shown})\\n" > $$OUTPUT; chmod +x $$OUTPUT\n'})
    for word, verb in (("one", "Published:"), ("one", "From the cache:"), ("other", "Published:")):
        shown.write_text(word) if shown.read_text() != word else None
        cached.gone()
        assert cached.built("--path", "provider", "--target", "plugin", "--input", shown).out.startswith(verb)
        assert output_of(cached) == word + "\n"


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("damage", ["flipped", "cut", "record", "no binary", "a directory for the binary", "a FIFO for the binary",
                                    "a FIFO for the record", "a file for the entry", "a link for the entry"])
def test_a_damaged_entry_is_noticed_set_aside_and_made_anew(cached, git_http, damage, pinned):
    commit = cached.source.commit(project())
    url = git_http.url("source/.git")
    cached.built(repo=url)
    cached.gone()
    binary = entries(cached)[0] / "binary"
    if damage == "flipped":
        content = bytearray(binary.read_bytes())
        content[-2] ^= 1
        binary.write_bytes(content)
    elif damage == "cut":
        binary.write_bytes(binary.read_bytes()[:-1])
    elif damage == "record":
        (binary.parent / "build-info.json").write_text("{}")
    elif damage.endswith("record"):
        (binary.parent / "build-info.json").unlink()
        os.mkfifo(binary.parent / "build-info.json")
    elif damage.endswith("entry"):
        shutil.move(binary.parent, cached.directory / "moved")
        binary.parent.write_text("x") if "file" in damage else binary.parent.symlink_to(cached.directory / "moved")
    else:
        binary.unlink()
        binary.mkdir() if "directory" in damage else os.mkfifo(binary) if "FIFO" in damage else None
    done = cached.built(*(["--ref", commit] if pinned else []), repo=url)
    assert "the build cache held a damaged entry" in done.err
    assert output_of(cached) == "plugin 1.0\n"
    assert cached.compilations() == 2
    cached.gone()
    assert cached.built(repo=url).out.startswith("From the cache:")


def test_an_entry_that_runs_no_more_is_compiled_again(cached):
    needed = cached.directory / "library"
    needed.write_text("")
    cached.source.commit(project(**{"provider/plugin.sh": plugin("1.0", f"test -e {needed} || exit 1")}))
    cached.built()
    cached.gone()
    needed.unlink()
    done = cached.build()
    assert "compiling again" in done.err
    assert "the build cache held an entry that does not run set-aside=" in done.err
    assert cached.compilations() == 2
    assert entries(cached) == [], "what does not run is not kept, and was not published"


def test_what_was_used_last_stays_within_the_limit(cached):
    big = "#" + "x" * 100_000
    commits = []
    for version in ("1", "2", "3"):
        commits.append(cached.source.commit(project(version, **{"provider/plugin.sh": plugin(version, big)})))
        done = cached.built("--cache-max", "250000")
    assert "evicted from the build cache" in done.err
    assert len(entries(cached)) == 2
    cached.built("--ref", commits[1], "--cache-max", "250000")
    assert cached.compilations() == 3
    cached.built("--ref", commits[0], "--cache-max", "250000")
    assert cached.compilations() == 4


def test_no_cache_is_made_where_it_may_hold_nothing(cached):
    cached.source.commit(project())
    cached.built("--cache-max", "0")
    assert not (cached.build_dir / "cache").exists()


def test_a_cache_that_cannot_be_written_costs_a_warning_alone(cached):
    cached.source.commit(project())
    (cached.directory / "file").write_text("")
    done = cached.built("--cache-dir", str(cached.directory / "file" / "cache"))
    assert "cannot use the build cache" in done.err


def test_force_compiles_and_neither_asks_nor_changes_the_cache(cached):
    cached.source.commit(project())
    cached.built()
    cached.built("--force")
    assert cached.compilations() == 2
    assert len(entries(cached)) == 1


def test_builders_of_one_cache_at_once_all_publish_whole_binaries(cached):
    commits = [cached.source.commit(project(version)) for version in ("1", "2")]
    builders = []
    for number in range(6):
        out = cached.directory / f"out{number}" / "mock-kms-provider"
        builders.append((out, subprocess.Popen(
            [BUILDER, "build", "--repo", cached.source.path, "--ref", commits[number % 2], "--output", out,
             "--build-dir", cached.directory / f"b{number}", "--cache-dir", cached.directory / "shared"],
            env=cached.environment, cwd=cached.directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)))
    for number, (out, builder) in enumerate(builders):
        _, err = builder.communicate(timeout=120)
        assert builder.returncode == 0, err
        assert out.read_text() == plugin("12"[number % 2])
        assert not [line for line in err.splitlines() if " warning " in line and "not isolated" not in line], err
    shared = cached.directory / "shared"
    assert sorted(path.name for path in shared.iterdir()) == ["entries", "sources"]
    assert len(list((shared / "entries").iterdir())) == 2


def test_a_compiled_program_comes_out_of_the_cache_bit_for_bit(cached):
    cached.source.commit(cxx_project())
    cached.built()
    first = cached.output.read_bytes()
    cached.gone()
    cached.built("-o", "json")
    assert cached.output.read_bytes() == first
    assert json.loads((cached.output.parent / "build-info.json").read_text())["fromCache"]


def test_a_demanded_signature_is_looked_at_though_all_is_cached(cached, git_http):
    commit = cached.source.commit(project())
    cached.built(repo=git_http.url("source/.git"))
    cached.gone()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", cached.directory / "key"], check=True)
    (cached.directory / "signers").write_text(f"me@example.org {(cached.directory / 'key.pub').read_text()}")
    done = cached.build("--ref", commit, "--allowed-signers", str(cached.directory / "signers"), repo=git_http.url("source/.git"))
    assert done.returncode == 1 and "cannot trust" in done.err.splitlines()[-1]
    assert not cached.output.exists()

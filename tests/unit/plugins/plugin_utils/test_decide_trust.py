# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from who else can change what root obeys: a refusal, a warning, a line of the report."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.trust import OF_REDIS, USES, lines, verdict
from ansible_collections.tethys.channels.plugins.plugin_utils.model import texts
from hypothesis import given
from hypothesis import strategies as st

HOME = "/var/lib/tethys"
CONF_D = "/etc/supervisor/conf.d"
CLEAN = "only root can change the 12 files and folders that root executes or reads as configuration"


def writer(path: str, how: str = "owner", name: str = "alice", **more: Any) -> dict[str, Any]:
    """A right of alice."""
    fix = shell_words("chown", "-h", "root", path)
    who = [] if how == "everybody" else ["alice"]
    return {"path": path, "how": how, "name": name, "who": who, "link": "", "fix": fix, **more}


def opened(path: str, use: str, *writers: dict[str, Any], target: str = "") -> dict[str, Any]:
    """A file that she can change."""
    return {"path": path, "use": use, "target": target, "writers": list(writers or (writer(path),))}


def trust(*files: dict[str, Any]) -> Any:
    """A server's facts."""
    return {"files": 12, "open": list(files)}


def manuals(name: str, how: str = "owner") -> dict[str, Any]:
    """A program file that the manual has as a link into TETHYS_HOME."""
    link, target = f"{CONF_D}/{name}", f"{HOME}/{name}"
    fix = shell_words("cp", "--remove-destination", target, link)
    return opened(
        link, "program", writer(HOME, how, link=link, fix=fix), writer(target, link=link, fix=fix), target=target
    )


def test_nothing_is_known_of_a_server_without_root() -> None:
    assert verdict(None) == ([], [], [])
    assert lines(verdict(None), {}) == []


def test_a_server_of_roots_alone_is_one_line() -> None:
    found = verdict(trust())
    assert (found.refusals, found.warnings) == ([], [])
    assert lines(found, {}) == [f"Trust: {CLEAN}"]
    portal = {"config": {"path": f"{HOME}/portal_config.yml", "owner": "www-data"}, "prefix_owner": {"user": "root"}}
    [line] = lines(found, portal)
    assert line == f"Trust: {CLEAN}; used with the owner's permissions: {HOME}/portal_config.yml (www-data)"


@pytest.mark.parametrize("use", sorted(set(USES) - {"site", "compose", "logs"}))
def test_each_kind_is_refused(use: str) -> None:
    how = "everybody" if use == "socket" else "owner"
    found = verdict(trust(opened("/x/y", use, writer("/x/y", how))))
    [text] = texts(found.refusals)
    assert "/x/y" in text
    assert f"{'every user' if use == 'socket' else 'its owner alice'} can change it. Run `chown -h root /x/y`." in text
    assert found.warnings == []
    assert len(found.report) == 1


def test_another_folder_for_the_logs_is_named() -> None:
    """The one that the manual gives to the portal's user stays that user's."""
    found = verdict(
        trust(opened("/var/log/tethys", "logs", writer("/var/log/tethys", fix="chown -h root /var/log/tethys")))
    )
    assert texts(found.refusals) == [
        "asgi_service_log_dir is /var/log/tethys, where Supervisor writes as root, and its owner alice can change it."
        " Set asgi_service_log_dir to a folder that only root can change, such as /var/log/tethys_channels."
    ]


def test_one_folder_of_many_files_is_told_once() -> None:
    files = [opened(f"{CONF_D}/{name}", "program", writer("/etc/supervisor")) for name in "abc"]
    [text] = texts(verdict(trust(*files)).refusals)
    assert text == (
        f"Supervisor runs as root and reads {CONF_D}/a and 2 more, and its owner alice can change /etc/supervisor."
        " Run `chown -h root /etc/supervisor`."
    )


def test_the_manuals_link_of_nginx_is_a_warning_with_the_command() -> None:
    found = verdict(trust(manuals("nginx_supervisord.conf")))
    assert found.refusals == []
    commands = {re.findall("`(.*?)`", text)[0] for text in texts(found.warnings)}
    assert commands == {f"cp --remove-destination {HOME}/nginx_supervisord.conf {CONF_D}/nginx_supervisord.conf"}
    assert len(found.warnings) == 1
    assert "Read that file" in found.warnings[0].text


def test_one_that_everybody_can_change_is_refused() -> None:
    found = verdict(trust(manuals("nginx_supervisord.conf", "everybody")))
    assert len(found.refusals) == 1


def test_a_right_of_everybody_counts_behind_the_owner_of_a_link() -> None:
    link = f"{CONF_D}/nginx_supervisord.conf"
    owner, group, everybody = (writer(HOME, how, link=link) for how in ("owner", "group", "everybody"))
    file = {**manuals("nginx_supervisord.conf"), "writers": [owner, group, everybody]}
    found = verdict(trust(file))
    assert len(found.refusals) == 1
    assert "every user can change" in found.refusals[0].text
    assert found.warnings == []
    assert len(found.report) == 3


def test_two_links_into_one_folder_are_two_problems() -> None:
    """Each has a separate command, so that none of the two is left out where equal problems are."""
    found = verdict(trust(manuals("a.conf"), manuals("b.conf")))
    assert len(set(found.refusals)) == 2
    commands = [re.findall("`(.*?)`", text)[0] for text in texts(found.refusals)]
    assert commands == [f"cp --remove-destination {HOME}/{name} {CONF_D}/{name}" for name in ("a.conf", "b.conf")]


def test_a_warning_does_not_stand_for_a_refusal_behind_the_same_link() -> None:
    """What the manual has behind a link is a warning, what it does not have there is refused."""
    link = "/etc/own"
    site = opened(f"{link}/site", "site", writer(f"{HOME}/site", link=link))
    supervisor = opened(f"{link}/supervisor", "supervisor", writer(f"{HOME}/supervisor", link=link))
    found = verdict(trust(site, supervisor))
    assert (len(found.warnings), len(found.refusals)) == (1, 1)
    assert len(verdict(trust(supervisor, site)).refusals) == 1


def test_a_link_that_is_not_the_manuals_is_refused() -> None:
    assert len(verdict(trust(manuals("job.conf"))).refusals) == 1


def test_the_program_that_the_run_replaces_is_not_told() -> None:
    asgi = manuals("asgi_supervisord.conf")
    assert verdict(trust(asgi), adopted=asgi["path"])[:2] == ([], [])
    assert len(verdict(trust(asgi)).warnings) == 1


def test_a_site_of_nginx_is_refused_only_where_the_run_starts_nginx() -> None:
    site = opened("/etc/nginx/sites-enabled/tethys", "site", writer(HOME, link="/etc/nginx/sites-enabled/tethys"))
    assert len(verdict(trust(site)).warnings) == 1
    assert len(verdict(trust(site), starts_nginx=True).refusals) == 1


def test_the_owner_of_a_project_of_compose_is_a_warning() -> None:
    owned = opened("/home/alice/tethys", "compose")
    [text] = texts(verdict(trust(owned)).warnings)
    assert text.endswith("which gives root's rights away. Run `chown -h root /home/alice/tethys` if that is not meant.")
    assert verdict(trust(owned)).refusals == []
    assert len(verdict(trust(opened("/srv/tethys", "compose", writer("/srv/tethys", "everybody")))).refusals) == 1


def test_the_group_of_docker_is_told_and_not_refused() -> None:
    found = verdict(trust(opened("/var/run/docker.sock", "socket", writer("/run/docker.sock", "group", "docker"))))
    assert found[:2] == ([], [])
    assert found.report == ["/var/run/docker.sock: its group docker (alice) can send commands to root's programs"]


def test_without_a_command_it_says_what_to_do() -> None:
    [text] = texts(verdict(trust(opened("/etc/x.conf", "unit", writer("/etc", "everybody", "", fix="")))).refusals)
    assert text.endswith("every user can change /etc. Give /etc the owner and mode that the distribution gives it.")
    link = writer("/home/alice", link="/etc/nginx/sites", fix="")
    [text] = texts(verdict(trust(opened("/etc/nginx/sites/a", "nginx", link))).refusals)
    assert text.endswith("the link /etc/nginx/sites leads. Replace that link with a file or folder of root's.")
    [text] = texts(verdict(trust(opened("/home/alice/x", "nginx", writer("/home/alice", fix="")))).refusals)
    assert text.endswith("Move /home/alice/x to a folder that only root can change.")


def test_a_server_of_a_shared_redis_has_no_portal() -> None:
    found = verdict(trust(manuals("job.conf"), opened("/etc/tethys_channels", "state")), uses=OF_REDIS)
    assert len(found.refusals) == 1
    assert "keeps its state" in found.refusals[0].text


@given(
    st.text(alphabet=st.characters(blacklist_categories=("C", "Zl", "Zp", "Zs"), blacklist_characters="`"), min_size=1)
)
def test_a_hostile_name_stays_one_word(name: str) -> None:
    path = f"/srv/{name}"
    [text] = texts(verdict(trust(opened(path, "unit"))).refusals)
    command = text[text.index("Run `") + 5 : -2]
    assert shlex.split(command) == ["chown", "-h", "root", path]

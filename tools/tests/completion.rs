//! The script of `tools completion bash`, run by a real bash.

mod place;

use std::fs;
use std::process::{Command, Stdio};

use place::{Place, text};

/// The offers of bash at the end of a line, given as bash parts it into words; the last may be empty.
fn offered(place: &Place, words: &[&str]) -> Vec<String> {
    let script = "source script.bash\nCOMP_WORDS=(\"$@\")\nCOMP_CWORD=$(($# - 1))\n_testbed_tools\n\
                  for word in \"${COMPREPLY[@]}\"; do printf '%s\\n' \"$word\"; done";
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-u", "-c", script, "bash"])
        .args(words)
        .current_dir(&place.0)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    let mut offered: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect();
    offered.sort();
    offered
}

#[test]
fn bash_completes_commands_options_words_and_paths() {
    let place = Place::new();
    let printed = place.command("completion", "bash").output().unwrap();
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed));
    fs::write(place.0.join("script.bash"), &printed.stdout).unwrap();
    for path in ["log dir", "log-a", "log-b", "data"] {
        fs::create_dir(place.0.join(path)).unwrap();
    }
    fs::write(place.0.join("hosts.txt"), "").unwrap();
    for (words, expected) in [
        (&["tools", "lo"][..], &["load", "local", "logs"][..]),
        (&["target/release/tools", "stat"], &["status"]),
        (&["tools", "help", "comp"], &["compare", "completion"]),
        (&["tools", "deploy", "st"], &["start", "status", "stop"]),
        (&["tools", "nonsense", ""], &[]),
        (&["tools", "local", "--durat"], &["--duration"]),
        (&["tools", "local", "--duration", "5", "--durat"], &[]),
        (&["tools", "local", "--durability", "p"], &["power", "process"]),
        (&["tools", "local", "--rate", ""], &["max"]),
        (&["tools", "local", "--rate", "=", "m"], &["max"]),
        (&["tools", "local", "--rate", "="], &["max"]),
        (&["tools", "local", "--nodes", ""], &[]),
        (&["tools", "local", "--log-dir", "log"], &["log dir", "log-a", "log-b"]),
        (&["tools", "load", "--hosts", "h"], &["hosts.txt"]),
        (&["tools", "status", "--watch", "--js"], &["--json"]),
        (&["tools", "status", "--watch", ""], &[]),
        (&["tools", "compare", "log-a,lo"], &["log-a,log dir", "log-a,log-a", "log-a,log-b"]),
        (&["tools", "ledger", "da"], &["data"]),
        (&["tools", "completion", ""], &["bash"]),
        (&["tools", "verify", ""], &["--data-dir", "--help", "--journals", "--keys", "--log-dir"]),
        (&["./run_local.sh", "4", "--metr"], &["--metrics"]),
        (&["./run_local.sh", "4", "--data-dir", "da"], &["data"]),
    ] {
        assert_eq!(offered(&place, words), expected, "{words:?}");
    }
    let all = offered(&place, &["tools", ""]);
    assert!(all.contains(&"help".into()) && all.contains(&"deploy".into()), "{all:?}");
    assert!(all.iter().all(|command| !command.contains(' ')), "{all:?}");
    // Every option of every page is offered, and none that no page has.
    for command in all.iter().filter(|command| !matches!(command.as_str(), "help" | "deploy")) {
        let page = place.command(command, "--help").output().unwrap();
        let mut shown: Vec<String> = text(&page)
            .lines()
            .filter_map(|line| Some(line.strip_prefix("    --")?.split(' ').next()?.to_string()))
            .map(|name| format!("--{name}"))
            .collect();
        shown.sort();
        assert_eq!(offered(&place, &["tools", command, "--"]), shown, "{command}");
    }
}

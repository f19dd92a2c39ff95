//! `tools completion`: a script that lets a shell complete command lines, from the tables of all commands.
//!
//! The script alone decides what can follow, so completing is quick and works while nothing else does:
//! commands; the options of a command that are not given yet; values of options and operands where their shape lists
//! that they are words of a list, files or directories.

use std::collections::BTreeSet;

use crate::flags::{Command, Operand, Opt};
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "completion",
    summary: "prints a script that completes command lines in a shell",
    about: "Prints a script for the shell that completes commands, options, and values that are words, files or \
            directories, for tools and for run_local.sh. It is made from the same tables as this page.",
    operands: &[Operand {
        name: "SHELL",
        words: &["bash"],
        default: None,
        help: "Which shell; bash is what there is.",
    }],
    options: &[],
    sections: &[
        ("EXIT STATUS", "0  printed\n2  usage"),
        (
            "EXAMPLES",
            "source <(target/release/tools completion bash)  In this shell.\n\
             target/release/tools completion bash > ~/.local/share/bash-completion/completions/tools  In every shell to \
             come, where bash-completion is installed.",
        ),
    ],
};

/// Prints the script that completes these commands; the exit code.
pub(crate) fn run(commands: &[&Command]) -> u8 {
    print(bash(commands).trim_end());
    0
}

/// Before the tables: finds the word that is completed, the word before it, and the command.
const HEAD: &str = r#"# Completes command lines of tools and run_local.sh in bash. Made by 'tools completion bash'.
_testbed_tools() {
    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]} command= at=2
    local commands= options= takes= words= path= operands= operand_path= option given
    COMPREPLY=()
    # Bash takes '=' for a word of its own, so that --option=value is three.
    if [[ $word == '=' ]]; then
        word=
    elif [[ $last == '=' ]]; then
        last=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if [[ ${COMP_WORDS[0]##*/} == run_local.sh ]]; then
        command=local at=1
    else
        command=${COMP_WORDS[1]}
    fi
"#;

/// Behind the tables: offers what they hold.
const TAIL: &str = r#"    if [[ $takes == must || $takes == may && $word != -* ]]; then
        [[ -n $words ]] && mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        [[ -n $path ]] && _testbed_paths "$path" "$word"
        return
    fi
    if [[ $word != -* ]]; then
        [[ -n $operands ]] && mapfile -t COMPREPLY < <(compgen -W "$operands" -- "$word")
        [[ -n $operand_path ]] && _testbed_paths "$operand_path" "$word"
        [[ -n $word || ${#COMPREPLY[@]} -gt 0 ]] && return
    fi
    for option in $options --help; do
        for given in "${COMP_WORDS[@]:at:COMP_CWORD-at}"; do
            [[ $given == "$option" ]] && continue 2
        done
        [[ $option == "$word"* ]] && COMPREPLY+=("$option")
    done
}

# Paths of a kind (-f or -d), the last one of a list with commas.
_testbed_paths() {
    local before= path
    [[ $2 == *,* ]] && before=${2%,*},
    while IFS= read -r path; do
        COMPREPLY+=("$before$path")
    done < <(compgen "$1" -- "${2##*,}")
    # It fails where nobody completes, as in tests.
    compopt -o filenames 2> /dev/null
}

complete -F _testbed_tools tools run_local.sh
"#;

/// The script for bash.
fn bash(commands: &[&Command]) -> String {
    // A name of two words, `deploy run`, makes the first one the name of a family.
    let families: BTreeSet<&str> =
        commands.iter().filter_map(|command| Some(command.name.split_once(' ')?.0)).collect();
    let mut script = String::from(HEAD);
    script += "    case $command in\n";
    for family in &families {
        let members = commands.iter().filter_map(|command| command.name.split_once(' '));
        let members: Vec<&str> =
            members.filter(|(first, _)| first == family).map(|(_, second)| second).collect();
        script += &format!(
            "        {family}) commands={} at=3; command=\"{family} ${{COMP_WORDS[2]}}\" ;;\n",
            quoted(&members.join(" "))
        );
    }
    let mut firsts: Vec<&str> = Vec::new();
    for command in commands {
        let first = command.name.split(' ').next().unwrap_or_default();
        if !firsts.contains(&first) {
            firsts.push(first);
        }
    }
    script += "    esac\n    if ((COMP_CWORD < at)); then\n";
    script += &format!(
        "        ((COMP_CWORD == 1)) && commands={}\n",
        quoted(&format!("{} help", firsts.join(" ")))
    );
    script +=
        "        mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\")\n        return\n    fi\n";
    script += "    case $command in\n";
    script += &format!("        help) operands={} ;;\n", quoted(&firsts.join(" ")));
    for command in commands {
        let options: Vec<String> =
            command.options.iter().map(|option| format!("--{}", option.name)).collect();
        script += &format!("        {}) options={}", quoted(command.name), quoted(&options.join(" ")));
        script += &operands(command.operands);
        script += " ;;\n";
    }
    script += "        *) return ;;\n    esac\n    case \"$command $last\" in\n";
    for command in commands {
        for option in command.options {
            script += &value(command.name, option);
        }
    }
    script + "    esac\n" + TAIL
}

/// The words of all operands of a command together.
fn operands(operands: &[Operand]) -> String {
    let words: Vec<&str> = operands.iter().flat_map(|operand| operand.words.iter().copied()).collect();
    let paths: Vec<&Operand> = operands.iter().filter(|operand| operand.words.is_empty()).collect();
    let mut text = String::new();
    if !words.is_empty() {
        text += &format!(" operands={}", quoted(&words.join(" ")));
    }
    if !paths.is_empty() {
        let all_directories = paths.iter().all(|operand| operand.name == "DIR");
        text += if all_directories { " operand_path=-d" } else { " operand_path=-f" };
    }
    text
}

/// The line with what an option takes; nothing for a switch.
fn value(command: &str, option: &Opt) -> String {
    let Some(shape) = option.value else { return String::new() };
    let takes = if option.bare.is_some() { "may" } else { "must" };
    let is_word = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let parts = || shape.split('|');
    let words: Vec<&str> = parts().filter(is_word).collect();
    let words = if words.is_empty() { String::new() } else { format!(" words={}", quoted(&words.join(" "))) };
    let path = match (parts().any(|part| part == "FILE"), parts().any(|part| part == "DIR")) {
        (true, _) => " path=-f",
        (false, true) => " path=-d",
        (false, false) => "",
    };
    format!("        {}) takes={takes}{words}{path} ;;\n", quoted(&format!("{command} --{}", option.name)))
}

/// A text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_lists_the_values() {
        for (option, expected) in [
            (Opt::with("rate", "R|max", "1", ""), "        'x --rate') takes=must words='max' ;;\n"),
            (
                Opt::with("wan", "none|good|FILE", "none", ""),
                "        'x --wan') takes=must words='none good' path=-f ;;\n",
            ),
            (Opt::with("log-dir", "DIR", "log", ""), "        'x --log-dir') takes=must path=-d ;;\n"),
            (Opt::switch_with("watch", "S", "1", ""), "        'x --watch') takes=may ;;\n"),
            (Opt::with("seeds", "A..B", "0..1", ""), "        'x --seeds') takes=must ;;\n"),
            (Opt::switch("json", ""), ""),
        ] {
            assert_eq!(value("x", &option), expected);
        }
    }

    #[test]
    fn quotes_end_no_word() {
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}

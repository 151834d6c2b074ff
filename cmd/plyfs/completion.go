package main

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/layer"
)

const completionUsage = `usage: plyfs completion bash|zsh|fish

Prints what has the shell complete verbs, flags, and the names of containers and
sandboxes. To have it in this shell, and in all of them:

  bash   source <(plyfs completion bash)
         plyfs completion bash >~/.local/share/bash-completion/completions/plyfs
  zsh    source <(plyfs completion zsh)
         plyfs completion zsh >DIR/_plyfs, with DIR in $fpath
  fish   plyfs completion fish | source
         plyfs completion fish >~/.config/fish/completions/plyfs.fish

  -h   this text
`

// completionScripts hand the words to complete.go.
var completionScripts = map[string]string{
	"bash": `# bash completion for plyfs
_plyfs() {
	local IFS=$'\n' words=("${COMP_WORDS[@]:1:COMP_CWORD}") line files=
	COMPREPLY=()
	while read -r line; do
		if [[ $line == :files ]]; then files=1; else COMPREPLY+=("$line"); fi
	done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
	if [[ -n $files ]]; then
		compopt -o filenames 2>/dev/null
		COMPREPLY+=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
	fi
}
complete -F _plyfs plyfs
`,
	"zsh": `#compdef plyfs
# zsh completion for plyfs
_plyfs() {
	local -a list
	list=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	local files=${list[(r):files]}
	list=("${(@)list:#:files}")
	compadd -a list
	[[ -n $files ]] && _files
	return 0
}
if [[ $funcstack[1] == _plyfs ]]; then _plyfs "$@"; else compdef _plyfs plyfs; fi
`,
	"fish": `# fish completion for plyfs
function __plyfs_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
		if test "$line" = ":files"
			__fish_complete_path (commandline -ct)
		else
			echo $line
		end
	end
end
complete -c plyfs -f -a '(__plyfs_complete)'
`,
}

func completion(args []string) error {
	flags, rest, err := cli.Spec{Short: "h", Long: []string{"help"}}.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, completionUsage) {
		return nil
	}
	shell, err := cli.One(rest, "shell")
	if err != nil {
		return err
	}
	script, ok := completionScripts[shell]
	if !ok {
		names := slices.Sorted(keys(completionScripts))
		hint := ""
		if near := layer.Nearest(shell, names); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return fmt.Errorf("no completion for %s: there is one for %s%s", shell, strings.Join(names, ", "), hint)
	}
	fmt.Print(script)
	return nil
}

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

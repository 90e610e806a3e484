# Reading a train_infer_python.txt and noting results; sourced by the scripts of this folder.

# lines[N] becomes the N-th line, from 0, of those that are not blank
func_read_lines() {
    if [[ ! -f $1 ]]; then
        echo "there is no parameter file '$1'; they lie in test_tipc/configs" >&2
        exit 2
    fi
    mapfile -t lines < <(grep -v '^[[:space:]]*$' "$1")
}

func_parser_key() {
    echo "${1%%:*}"
}

func_parser_value() {
    echo "${1#*:}"
}

# "key:mode=value|mode=value" -> the value of ${MODE}, or nothing
func_parser_params() {
    local choices choice
    IFS='|' read -ra choices <<<"$(func_parser_value "$1")"
    for choice in "${choices[@]}"; do
        if [[ ${choice%%=*} == "${MODE}" ]]; then
            echo "${choice#*=}"
        fi
    done
}

# key, value -> "key=value"; nothing where either is null or empty
func_set_params() {
    if [[ -n $1 && $1 != null && -n $2 && $2 != null ]]; then
        echo "$1=$2"
    fi
}

# exit code, command, results log, model name, log of the command; counts in ${failures}
status_check() {
    local outcome=successfully
    if [[ $1 -ne 0 ]]; then
        outcome=failed
        failures=$((failures + 1))
    fi
    echo "Run ${outcome} with command - $4 - $2 - $5" | tee -a "$3"
}

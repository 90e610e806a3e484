#!/bin/bash
# Train, evaluate, export, infer and compare, as a parameter file says:
#   bash test_tipc/test_train_inference_python.sh test_tipc/configs/cddnet/train_infer_python.txt MODE [GPUS]
# MODE  lite_train_lite_infer: a small network on the samples; whole_train_whole_infer: the config as it is
# GPUS  instead of the file's gpu_list: -1 for the CPU, 0 for one GPU, 0,1 for two, '0|0,1' for both in turn
# One line per command goes to test_tipc/output/<model>/<mode>/results_python.log; exit code 1 if one failed.
set -uo pipefail
set -f # depths=[6] is no pattern of file names
source test_tipc/common_func.sh

FILENAME=${1:-}
MODE=${2:-}
func_read_lines "${FILENAME}"
case ${MODE} in
lite_train_lite_infer | whole_train_whole_infer) ;;
*)
    echo "the mode is lite_train_lite_infer or whole_train_whole_infer, got '${MODE}'" >&2
    exit 2
    ;;
esac

model_name=$(func_parser_value "${lines[1]}")
python=$(func_parser_value "${lines[2]}")
IFS='|' read -ra gpu_list <<<"${3:-$(func_parser_value "${lines[3]}")}"
IFS='|' read -ra autocast_list <<<"$(func_parser_value "${lines[5]}")"
set_iters=$(func_set_params "$(func_parser_key "${lines[6]}")" "$(func_parser_params "${lines[6]}")")
save_model_key=$(func_parser_key "${lines[7]}")
set_batch=$(func_set_params "$(func_parser_key "${lines[8]}")" "$(func_parser_params "${lines[8]}")")
train_model_name=$(func_parser_value "${lines[10]}")
trainer=$(func_parser_value "${lines[14]}")
norm_trainer=$(func_parser_value "${lines[15]}")
eval_py=$(func_parser_value "${lines[23]}")
save_infer_key=$(func_parser_key "${lines[27]}")
norm_export=$(func_parser_value "${lines[29]}")
inference_dir=$(func_parser_value "${lines[35]}")
inference_py=$(func_parser_value "${lines[39]}")
use_gpu_key=$(func_parser_key "${lines[40]}")
IFS='|' read -ra use_gpu_list <<<"$(func_parser_value "${lines[40]}")"
batch_size_key=$(func_parser_key "${lines[43]}")
IFS='|' read -ra batch_size_list <<<"$(func_parser_value "${lines[43]}")"
precision_key=$(func_parser_key "${lines[45]}")
IFS='|' read -ra precision_list <<<"$(func_parser_value "${lines[45]}")"
infer_model_key=$(func_parser_key "${lines[46]}")
read -ra overrides <<<"$(func_parser_params "${lines[52]}")" # for all of the commands

LOG_PATH="./test_tipc/output/${model_name}/${MODE}"
status_log="${LOG_PATH}/results_python.log"
mkdir -p "${LOG_PATH}"
: >"${status_log}"
export FLAGS_cudnn_deterministic=True
failures=0

# log, command...: run it and note how it ended; the end of a failed one's log is shown
func_run() {
    local log=$1 code command
    shift
    "$@" >"${log}" 2>&1
    code=$?
    [[ ${code} -eq 0 ]] || tail -n 20 "${log}"
    printf -v command '%q ' "$@" # as it can be pasted into a shell
    status_check "${code}" "${command% }" "${status_log}" "${model_name}" "${log}"
    return "${code}"
}

# the exported network, and the log of what the trained one scored
func_inference() {
    local model=$1 expected=$2 use_gpu batch_size precision options name
    for use_gpu in "${use_gpu_list[@]}"; do
        [[ ${use_gpu} == cpu ]] && options=usemkldnn_null_threads_null || options=usetrt_null
        for precision in "${precision_list[@]}"; do
            for batch_size in "${batch_size_list[@]}"; do
                name="infer_${use_gpu}_${options}_precision_${precision}_batchsize_${batch_size}.log"
                func_run "${LOG_PATH}/python_${name}" "${python}" ${inference_py} \
                    "${use_gpu_key}=${use_gpu}" "${infer_model_key}=${model}" \
                    $(func_set_params "${batch_size_key}" "${batch_size}") \
                    $(func_set_params "${precision_key}" "${precision}") ${overrides[@]:+-o "${overrides[@]}"} &&
                    func_run "${LOG_PATH}/compare_${name}" "${python}" test_tipc/compare_results.py \
                        --gt_file "${expected}" --log_file "test_tipc/output/${model_name}/metric.txt"
            done
        done
    done
}

# Each step needs what the one before it made, so the first that fails ends the chain.
func_chain() {
    local gpu=$1 autocast=$2 weight
    local save_log="${LOG_PATH}/${trainer}_gpus_${gpu}_autocast_${autocast}"
    local launch=("${python}") device=() amp=()
    case ${gpu} in
    -1) device=(--device cpu) ;;
    *,*) launch+=(-m paddle.distributed.launch "--gpus=${gpu}" --log_dir "${save_log}_workers") ;;
    *) export CUDA_VISIBLE_DEVICES=${gpu} ;;
    esac
    [[ ${autocast} == fp16 ]] && amp=(--amp --amp_level=O2)

    rm -rf "${save_log}"
    func_run "${save_log}.log" "${launch[@]}" ${norm_trainer} "${overrides[@]}" \
        "${save_model_key}=${save_log}" ${set_iters} ${set_batch} "${device[@]}" "${amp[@]}" || return
    set +f
    weight=$(ls -t "${save_log}"/${train_model_name} 2>>"${save_log}.log" | head -n 1)
    set -f
    if [[ -z ${weight} ]]; then
        status_check 1 "ls ${save_log}/${train_model_name}" "${status_log}" "${model_name}" "${save_log}.log"
        return
    fi
    func_run "${save_log}_nodes_1_eval.log" "${python}" ${eval_py} "${weight}" "${device[@]}" \
        -o "${overrides[@]}" "${save_model_key}=${save_log}_nodes_1_eval" || return
    func_run "${save_log}_nodes_1_export.log" "${python}" ${norm_export} "${weight}" \
        "${save_infer_key}" "${save_log}" ${overrides[@]:+-o "${overrides[@]}"} || return
    func_inference "${save_log}/${inference_dir}" "${save_log}_nodes_1_eval.log"
}

for gpu in "${gpu_list[@]}"; do
    for autocast in "${autocast_list[@]}"; do
        if [[ -n ${3:-} ]]; then
            [[ ${gpu} == -1 ]] && use_gpu_list=(cpu) || use_gpu_list=(gpu)
        fi
        func_chain "${gpu}" "${autocast}"
        unset CUDA_VISIBLE_DEVICES
    done
done
[[ ${failures} -eq 0 ]]

#!/bin/bash
# The images that a run of test_train_inference_python.sh needs:
#   bash test_tipc/prepare.sh test_tipc/configs/cddnet/train_infer_python.txt lite_train_lite_infer
# Nothing is downloaded: the small mode uses images that come with scikit-image. What is there stays.
set -euo pipefail
source test_tipc/common_func.sh

FILENAME=${1:-}
MODE=${2:-}
func_read_lines "${FILENAME}"
python=$(func_parser_value "${lines[2]}")

ppsr_prepare() {
    "${python}" -c 'from ppsr.cli import main; main()' prepare "$@"
}

case ${MODE} in
lite_train_lite_infer)
    ppsr_prepare samples
    if grep -q 'data/samples/train_bicubic' "${FILENAME}"; then
        ppsr_prepare bicubic data/samples/train data/samples/train_bicubic --scales 4
    fi
    ;;
whole_train_whole_infer)
    echo "put the data sets of the config in place yourself: data/README.md tells where each comes from"
    ;;
*)
    echo "the mode is lite_train_lite_infer or whole_train_whole_infer, got '${MODE}'" >&2
    exit 2
    ;;
esac

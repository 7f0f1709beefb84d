#!/usr/bin/env bash
# Build what a release consists of into dist/, and try each piece in a clean place.
# Run by make package: packaging/make_package.sh PYTHON
set -euo pipefail
python=$(realpath --no-symlinks "$1")
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_CONSTRAINT=$root/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
rm -rf dist

"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install build==1.6.1 cyclonedx-bom==7.5.0
"$work/tools/bin/python" -m build --outdir dist . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }

# The wheel, alone, in a new environment: it must not need torch, and must find its own weights.
"$python" -m venv "$work/wheel"
"$work/wheel/bin/pip" install dist/*.whl
! "$work/wheel/bin/python" -c 'import torch' 2>/dev/null
(
  cd "$work"
  export OMNIREID_CACHE=$work/cache PATH=$work/wheel/bin:$PATH
  omnireid --version
  omnireid synthesize people --identities 6 --cameras 2 --per-camera 1
  omnireid evaluate --data people
  omnireid manual >"$root/dist/omnireid.1"
  for shell in bash zsh fish; do omnireid completion "$shell" >"$root/dist/omnireid.$shell"; done
)

# A bill of materials of exactly what that environment holds.
"$work/tools/bin/cyclonedx-py" environment --output-format JSON --output-file dist/omnireid.cdx.json "$work/wheel/bin/python"

# The source archive, as the place where the container is built from.
tar --extract --file dist/*.tar.gz --directory "$work" --transform 's,^[^/]*,source,'
if [ "$(id -u)" = 0 ]; then
  "$python" packaging/try_containerfile.py "$work/source"
else
  echo "The Containerfile was not tried: that needs root." >&2
fi
ls -l dist

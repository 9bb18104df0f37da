#!/usr/bin/env bash
# Builds sensor-1.bin and sensor-2.bin with Debian's arm-none-eabi compiler.
set -euo pipefail
cd "$(dirname "$0")"
flags=(-mcpu=cortex-m4 -mthumb -mfloat-abi=soft -Os -g0 -ffunction-sections -fdata-sections -Wall -Wextra -Werror
  -std=c11 -fno-ident -Wl,--gc-sections -Wl,--build-id=none -T src/link.ld -nostartfiles --specs=nosys.specs)
for version in 1 2; do
  elf=$(mktemp)
  arm-none-eabi-gcc "${flags[@]}" -DFIRMWARE_VERSION="$version" src/*.c -o "$elf" -lm 2> >(grep -v 'is not implemented and will always fail\|the message above does not take linker garbage' >&2)
  arm-none-eabi-objcopy -O binary "$elf" "sensor-$version.bin"
  rm -f "$elf"
done
ls -l sensor-*.bin

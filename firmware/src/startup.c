/* Vector table, memory initialisation, and the C library's way out. */
#include <stdint.h>
#include <sys/stat.h>

extern uint32_t data_source, data_start, data_end, bss_start, bss_end, stack_top;
int main(void);

void reset_handler(void) {
  uint32_t *from = &data_source;
  for (uint32_t *to = &data_start; to < &data_end; to++) *to = *from++;
  for (uint32_t *to = &bss_start; to < &bss_end; to++) *to = 0;
  main();
  for (;;) {}
}

static void halt(void) {
  for (;;) {}
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)&stack_top, reset_handler, halt, halt, halt, halt, halt, 0, 0, 0, 0, halt, halt, 0, halt, halt};

/* Text goes out by the serial port's data register. */
#define UART_TXD (*(volatile uint32_t *)0x4000251c)
int _write(int file, const char *text, int length) {
  (void)file;
  for (int i = 0; i < length; i++) UART_TXD = (uint32_t)text[i];
  return length;
}

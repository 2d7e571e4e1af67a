// SPDX-License-Identifier: GPL-2.0
/*
 * The first process of the guest of stock.c: fill memory, wait for a byte on the serial
 * line, check all of the memory and write to each page.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define PAGES	8192
#define WORDS	512

static uint64_t word(uint64_t page, uint64_t i)
{
	return page * 0x9e3779b97f4a7c15ULL + i;
}

int main(void)
{
	uint64_t *mem = mmap(NULL, PAGES * WORDS * sizeof(*mem), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct termios t;
	long wrong = 0;
	char go;

	if (mem == MAP_FAILED || tcgetattr(STDIN_FILENO, &t)) {
		perror("stock");
		return 1;
	}
	t.c_lflag &= ~(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
	for (uint64_t page = 0; page < PAGES; page++) {
		for (uint64_t i = 0; i < WORDS; i++)
			mem[page * WORDS + i] = word(page, i);
	}
	printf("stock: ready\n");
	fflush(stdout);
	if (read(STDIN_FILENO, &go, 1) != 1)
		return 1;
	for (uint64_t page = 0; page < PAGES; page++) {
		for (uint64_t i = 0; i < WORDS; i++)
			wrong += mem[page * WORDS + i] != word(page, i);
		mem[page * WORDS] = 0;
	}
	printf("stock: done, %ld words are wrong\n", wrong);
	fflush(stdout);
	for (;;)
		pause();
}

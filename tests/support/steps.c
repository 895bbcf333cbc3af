/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "steps.h"

/* gcc defines one, clang has the other. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define WITHOUT_STEPS	"the run time of TSan has locks, and stops if it is single-stepped"
#elif !defined(__x86_64__)
#define WITHOUT_STEPS	"only on x86-64 a program can single-step itself"
#endif

#ifndef WITHOUT_STEPS

#include <ucontext.h>

#define TRAP_FLAG	0x100
#define BREAKPOINT	0xcc

static struct steps *recording;
static volatile sig_atomic_t traps;

/* An operand in memory: ModRM, perhaps SIB and a displacement. rex extends both. */
static uintptr_t operand(const uint8_t *at, uint8_t rex, const greg_t *of)
{
	static const int number[] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX,
		REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11,
		REG_R12, REG_R13, REG_R14, REG_R15,
	};
	uint8_t mod = *at >> 6, base = *at & 7, sib = 4 << 3, index;
	int32_t far = 0;
	uint64_t sum;

	at++;
	if (base == 4) {
		sib = *at++;
		base = sib & 7;
	}
	assert(mod || base != 5);	/* no register: compilers do not need it here */
	sum = (uint64_t)of[number[base | (rex & 1) << 3]];
	index = (sib >> 3 & 7) | (rex & 2) << 2;
	if (index != 4)
		sum += (uint64_t)of[number[index]] << (sib >> 6);
	if (mod == 1)
		return sum + (uint64_t)(int8_t)*at;
	if (mod == 2)
		memcpy(&far, at, sizeof(far));
	return sum + (uint64_t)far;
}

static enum step_kind kind_of(uint8_t opcode, uint8_t modrm, bool prefixed)
{
	bool in_memory = modrm >> 6 != 3;

	if (opcode == 0xe7)		/* movntdq */
		return prefixed && in_memory ? STEP_PAST : 0;
	if (opcode == 0x2b)		/* movntps, which clang prefers; movntpd */
		return STEP_PAST;
	if (opcode != 0xae)
		return 0;
	switch (modrm >> 3 & 7) {
	case 6:
		return prefixed && in_memory ? STEP_CLWB : 0;
	case 7:
		if (!in_memory)
			return STEP_FENCE;
		return prefixed ? STEP_CLFLUSHOPT : STEP_CLFLUSH;
	}
	return 0;
}

/* Note the instruction that comes next, if it is one for cache lines. */
static void note(const uint8_t *at, const greg_t *registers)
{
	bool prefixed = *at == 0x66;
	uint8_t rex = 0;
	enum step_kind kind;

	at += prefixed;
	if (*at == 0xc5) {		/* VEX of two bytes, for stores with AVX */
		prefixed = (at[1] & 3) == 1;
		at++;
	} else if (*at == 0xc4 && (at[1] & 31) == 1) {	/* of three, REX inverted */
		rex = ~at[1] >> 5 & 7;
		prefixed = (at[2] & 3) == 1;
		at += 2;
	} else {
		if ((*at & 0xf0) == 0x40)
			rex = *at++;
		if (*at != 0x0f)
			return;
	}
	kind = kind_of(at[1], at[2], prefixed);
	if (!kind)
		return;
	assert(recording->count < STEPS_MAX);
	recording->step[recording->count++] = (struct step) {
		kind, kind == STEP_FENCE ? 0 : operand(at + 2, rex, registers),
	};
}

/* A breakpoint begins, another one ends it. */
static void on_trap(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	const uint8_t *next = (const uint8_t *)registers[REG_RIP];

	(void)signal;
	(void)info;
	traps++;
	if (!(registers[REG_EFL] & TRAP_FLAG)) {
		registers[REG_EFL] |= TRAP_FLAG;
	} else if (*next == BREAKPOINT) {
		registers[REG_EFL] &= ~TRAP_FLAG;
		registers[REG_RIP]++;
	} else {
		note(next, registers);
	}
}

void steps_begin(struct steps *steps)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	steps->count = 0;
	recording = steps;
	traps = 0;
	sigaction(SIGTRAP, &action, NULL);
	__asm__ volatile("int3" : : : "memory");
}

void steps_end(void)
{
	__asm__ volatile("int3" : : : "memory");
	signal(SIGTRAP, SIG_DFL);
}

/* An emulator may ignore the flag: then the second breakpoint is the second trap. */
bool steps_possible(void)
{
	static struct steps none;

	steps_begin(&none);
	__asm__ volatile("nop; nop; nop");
	steps_end();
	if (traps > 3)
		return true;
	print_message("# skipped: the trap flag has no effect here\n");
	return false;
}

#else

bool steps_possible(void)
{
	print_message("# skipped: " WITHOUT_STEPS "\n");
	return false;
}

void steps_begin(struct steps *steps)
{
	steps->count = 0;
}

void steps_end(void)
{
}

#endif

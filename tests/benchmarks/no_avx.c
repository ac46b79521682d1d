/* Hides AVX from the libraries that a process loads from now on: Linux lets CPUID fault (arch_prctl(2)), and the handler
   answers for the processor, without the bits of AVX, AVX2, AVX-512, AMX, FMA and F16C. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static void answer(int signal_number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)registers[REG_RIP];
  if (code[0] != 0x0f || code[1] != 0xa2) { /* not CPUID: a crash like any other */
    signal(SIGSEGV, SIG_DFL);
    return;
  }
  uint32_t leaf = registers[REG_RAX], a = leaf, b, c = registers[REG_RCX], d;
  syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
  if (leaf == 1) c &= ~(1u << 28 | 1u << 12 | 1u << 29 | 1u << 26 | 1u << 27); /* AVX, FMA, F16C, XSAVE, OSXSAVE */
  if (leaf == 7) a = b = c = d = 0;
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

int hide(void) {
  struct sigaction action = {0};
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, 0);
  return syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
}

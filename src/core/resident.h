/* How much memory a process holds, by its /proc. */
#pragma once
#include <stdint.h>

/* Bytes, shared pages included (statm of proc(5)). 0: there is no such process, or it can't be seen. Any process may call it. */
int64_t resident_bytes(int32_t pid);

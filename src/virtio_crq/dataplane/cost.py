# SPDX-License-Identifier: Apache-2.0
"""What one way of moving bytes costs here: so much for each call, and so much for each byte, as measured.

A sample is (calls, bytes, nanoseconds). Both prices are fitted to all samples, old ones fading away, by least squares
of the error in proportion to their size, so that small vectors count as much as large ones. Where samples are all alike
they say only a sum; it is then shared out as the first guess has it. What took longer than eight times what was
expected counts as that much: a thread that was preempted says nothing of a copy, while prices that really grew are
believed within a few samples. The first sample of all was made with cold caches: the second takes its place.
"""

FADE = 15 / 16  # of what earlier samples weigh, with each new one
PULL = 0.01  # of the first guess, against the weight 1 of the newest sample
OUTLIER = 8.0
LEAST = 100.0  # nanoseconds that are no outlier, however little was expected


class Cost:
    """`call_ns` and `byte_ns` are the present estimate, `samples` what it stands on."""

    def __init__(self, call_ns: float, byte_ns: float) -> None:
        self.first_call_ns = self.call_ns = call_ns
        self.first_byte_ns = self.byte_ns = byte_ns
        self.samples = 0
        self.calls2 = self.both = self.bytes2 = 0.0
        self.calls_time = self.bytes_time = 0.0

    def of(self, calls: int, length: int) -> int:
        """Nanoseconds that this many calls with this many bytes are expected to take."""
        return int(self.call_ns * calls + self.byte_ns * length)

    def learn(self, calls: int, length: int, elapsed: int) -> int:
        """So many calls with so many bytes in all took `elapsed` nanoseconds."""
        most = OUTLIER * (self.call_ns * calls + self.byte_ns * length)
        if most < LEAST:
            most = LEAST
        time = elapsed + 0.0
        if time > most:
            time = most
        # By the first guess, which stands still: what was learnt while all was cheap would weigh most for ever.
        guess = self.first_call_ns * calls + self.first_byte_ns * length
        time = time / guess
        by_call = calls / guess
        by_byte = length / guess
        fade = 0.0 if self.samples == 1 else FADE
        self.calls2 = fade * self.calls2 + by_call * by_call
        self.both = fade * self.both + by_call * by_byte
        self.bytes2 = fade * self.bytes2 + by_byte * by_byte
        self.calls_time = fade * self.calls_time + by_call * time
        self.bytes_time = fade * self.bytes_time + by_byte * time
        self.samples += 1
        return self._fit()

    def _fit(self) -> int:
        calls2 = self.calls2 + PULL / (self.first_call_ns * self.first_call_ns)
        bytes2 = self.bytes2 + PULL / (self.first_byte_ns * self.first_byte_ns)
        calls_time = self.calls_time + PULL / self.first_call_ns
        bytes_time = self.bytes_time + PULL / self.first_byte_ns
        determinant = calls2 * bytes2 - self.both * self.both  # above zero, thanks to what the first guess adds
        call = (calls_time * bytes2 - bytes_time * self.both) / determinant
        byte = (bytes_time * calls2 - calls_time * self.both) / determinant
        if call < 0.0:
            call = 0.0
            byte = bytes_time / bytes2
        elif byte < 0.0:
            byte = 0.0
            call = calls_time / calls2
        self.call_ns = call
        self.byte_ns = byte
        return 0

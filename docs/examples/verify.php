<?php

declare(strict_types=1);

// $headers: array_change_key_case(getallheaders()). $body: file_get_contents('php://input'). $secret: as it was shown, with its
// prefix. PHP 8.
function verify(array $headers, string $body, string $secret): bool
{
    $id = $headers['webhook-id'] ?? '';
    $time = $headers['webhook-timestamp'] ?? '';
    if (!ctype_digit($time) || abs(time() - (int) $time) > 300) {
        return false;
    }
    $key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6)) : $secret;
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true));
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $given) {
        if (hash_equals($expected, $given)) {
            return true;
        }
    }
    return false;
}

// A product's own header. $profile: one of the table.
function verify_product(string $profile, array $headers, string $body, string $secret): bool
{
    switch ($profile) {
        case 'migma':
            return hash_equals(hash_hmac('sha256', $body, $secret), $headers['x-migma-signature'] ?? '');
        case 'migomail':
        case 'magnetite':
            $expected = 'sha256=' . hash_hmac('sha256', $body, $secret);
            return hash_equals($expected, $headers["x-$profile-signature"] ?? '');
        case 'mumara':
            return hash_equals($secret, $headers['x-mumara-token'] ?? '');
        case 'metigan':
            if (!preg_match('/^t=([0-9]{1,15}),v1=([0-9a-f]+)$/D', $headers['x-webhook-signature'] ?? '', $parts)) {
                return false;
            }
            $expected = hash_hmac('sha256', "$parts[1].$body", $secret);
            return abs(time() - (int) $parts[1]) <= 300 && hash_equals($expected, $parts[2]);
        default:
            return false;
    }
}

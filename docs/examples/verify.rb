require 'openssl'

# headers: Rails' request.headers, or a hash with names in lower case. body: request.raw_post (Rack: request.body.read).
# secret: as it was shown, with its prefix.
def verify(headers, body, secret)
  time = headers['webhook-timestamp'].to_s
  return false unless recent?(time)

  key = secret.start_with?('whsec_') ? secret.delete_prefix('whsec_').unpack1('m') : secret
  signed = OpenSSL::HMAC.new(key, 'SHA256').update("#{headers['webhook-id']}.#{time}.").update(body)
  expected = "v1,#{[signed.digest].pack('m0')}"
  headers['webhook-signature'].to_s.split(' ').any? { |given| OpenSSL.secure_compare(given, expected) }
end

# A product's own header. profile: one of the table.
def verify_product(profile, headers, body, secret)
  mac = OpenSSL::HMAC.new(secret, 'SHA256')
  case profile
  when 'migma'
    OpenSSL.secure_compare(headers['x-migma-signature'].to_s, mac.update(body).hexdigest)
  when 'migomail', 'magnetite'
    OpenSSL.secure_compare(headers["x-#{profile}-signature"].to_s, "sha256=#{mac.update(body).hexdigest}")
  when 'mumara'
    OpenSSL.secure_compare(headers['x-mumara-token'].to_s, secret)
  when 'metigan'
    parts = headers['x-webhook-signature'].to_s.match(/\At=([0-9]+),v1=([0-9a-f]+)\z/)
    return false unless parts && recent?(parts[1])

    OpenSSL.secure_compare(parts[2], mac.update("#{parts[1]}.").update(body).hexdigest)
  else
    false
  end
end

# Whether a time in Unix seconds is within five minutes of this clock.
def recent?(time)
  time.match?(/\A[0-9]+\z/) && (Time.now.to_i - time.to_i).abs <= 300
end
